#ifdef __linux__
#include <CLinuxHeaps.h>
#include <pthread.h>

void CLinuxHeaps_name_this_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

#if __has_feature(thread_sanitizer)
void __tsan_acquire(void *);
void __tsan_release(void *);
void CLinuxHeaps_lock_acquired(const void *lock) { __tsan_acquire((void *)lock); }
void CLinuxHeaps_lock_released(const void *lock) { __tsan_release((void *)lock); }
#else
void CLinuxHeaps_lock_acquired(const void *lock) { (void)lock; }
void CLinuxHeaps_lock_released(const void *lock) { (void)lock; }
#endif
#endif

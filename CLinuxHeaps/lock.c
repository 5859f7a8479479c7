#ifdef __linux__
#include <CLinuxHeaps.h>

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

#ifdef __linux__
#include <CTerminal.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool are_equal(const struct termios *a, const struct termios *b) {
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && memcmp(a->c_cc, b->c_cc, sizeof a->c_cc) == 0;
}

/// Another program's pipe or socket would not end while a copy of its other end is open here.
static void keep_only(int orders) {
    // `orders` becomes 2: standard error is of no use here.
    dup2(orders, STDERR_FILENO);
    unsigned int first = STDERR_FILENO + 1;
    if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
    // Before Linux 5.9.
    for (int descriptor = (int)sysconf(_SC_OPEN_MAX); descriptor >= (int)first; descriptor--) close(descriptor);
}

_Noreturn static void guard(int orders, const char *leave) {
    // A session of its own: the terminal sends its signals (SIGINT, SIGQUIT, SIGTSTP, SIGHUP) to the
    // foreground processes of its session, and stops others that change it (SIGTTOU).
    setsid();
    prctl(PR_SET_NAME, "heapctl-guard");
    keep_only(orders);
    struct CTerminal_modes modes, order;
    bool is_taken = false;
    for (;;) {
        ssize_t length = read(STDERR_FILENO, &order, sizeof order);
        if (length < 0 && errno == EINTR) continue;
        if (length <= 0) break;
        is_taken = length == sizeof order;
        if (is_taken) modes = order;
    }
    if (is_taken) {
        // A terminal whose other end does not read would hold a writer for ever: SIGALRM ends this one.
        alarm(1);
        struct termios now;
        // A shell that was quicker has set the modes that it needs for its own line.
        if (tcgetattr(STDIN_FILENO, &now) == 0 && are_equal(&now, &modes.taken))
            tcsetattr(STDIN_FILENO, TCSANOW, &modes.before);
        if (write(STDOUT_FILENO, leave, strlen(leave)) < 0) _exit(1);
    }
    _exit(0);
}

pid_t CTerminal_start_guardian(int orders, const char *leave) {
    sigset_t all, before, alarms;
    sigfillset(&all);
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    // Blocked before the fork: the guardian shall not be ended by what ends its parent.
    if (sigprocmask(SIG_BLOCK, &all, &before) != 0) return -1;
    pid_t process = fork();
    if (process == 0) {
        signal(SIGALRM, SIG_DFL);
        sigprocmask(SIG_UNBLOCK, &alarms, NULL);
        guard(orders, leave);
    }
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return process;
}
#endif

#ifndef C_TERMINAL_H
#define C_TERMINAL_H

#ifdef __linux__
#include <sys/types.h>
#include <termios.h>

/// What a program that takes a terminal over has made of it, and what it found.
struct CTerminal_modes {
    struct termios before;
    struct termios taken;
};

/// Starts the process that gives a terminal back when this one is killed. In C, because after fork(2)
/// only what signal-safety(7) lists may be called.
///
/// Each message on `orders`, the other end of which this process keeps, tells how things stand: a whole
/// `CTerminal_modes`, the terminal is taken; anything shorter, it is given back. When that end closes while the
/// terminal is taken, standard input gets its modes of before, unless somebody else has changed them
/// meanwhile, and `leave` is written to standard output. Either way the guardian then ends.
///
/// It holds nothing but standard input, standard output and `orders`. Answers its process id, which the
/// caller reaps, or -1 with the cause in `errno`.
pid_t CTerminal_start_guardian(int orders, const char *_Nonnull leave);

#endif
#endif

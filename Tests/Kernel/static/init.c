// The first process of the machine that static.sh boots: mounts what a kernel shows, runs heapctl as
// /orders says, a line for each run, and switches the machine off. Nothing else is on it.
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(char *line) {
  char *words[32] = {0};
  int count = 0;
  for (char *word = strtok(line, " \n"); word && count < 31; word = strtok(NULL, " \n")) words[count++] = word;
  pid_t child = fork();
  if (child == 0) {
    execv(words[0], words);
    perror(words[0]);
    _exit(127);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void) {
  static const struct { const char *type, *folder; } kinds[] = {
    {"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"tmpfs", "/tmp"}};
  for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    mkdir(kinds[i].folder, 0755);
    if (mount(kinds[i].type, kinds[i].folder, kinds[i].type, 0, NULL)) perror(kinds[i].folder);
  }
  // The kernel has opened the console for this process only where /dev/console was there at once.
  FILE *console = freopen("/dev/console", "w", stdout);
  if (!console || dup2(STDOUT_FILENO, STDERR_FILENO) < 0) return 1;
  freopen("/dev/null", "r", stdin);

  char line[1024];
  FILE *orders = fopen("/orders", "r");
  while (orders && fgets(line, sizeof line, orders)) {
    printf("== %s", line);
    fflush(stdout);
    int status = run(line);
    printf("== ended with %d\n", status);
    fflush(stdout);
  }
  sync();
  reboot(RB_POWER_OFF);
}

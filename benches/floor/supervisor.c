/* The floor: the least that a supervisor can do. Starts COUNT copies of PROGRAM, waits for a death, and starts the
 * replacement with vfork at once. Arguments: COUNT PROGRAM. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(char *program, int number) {
    char name[16];
    snprintf(name, sizeof name, "c%d", number);
    pid_t pid = vfork();
    if (pid == 0) {
        execl(program, program, name, (char *)0);
        _exit(127);
    }
    return pid;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int count = atoi(argv[1]);
    pid_t *pids = calloc(count, sizeof *pids);
    for (int i = 0; i < count; i++) pids[i] = start(argv[2], i);
    for (;;) {
        pid_t dead = waitpid(-1, 0, 0);
        if (dead < 0) return 1;
        for (int i = 0; i < count; i++)
            if (pids[i] == dead) pids[i] = start(argv[2], i);
    }
}

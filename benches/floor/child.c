/* The supervised test program: as the first thing in main it reads CLOCK_MONOTONIC and sends "NAME PID NANOSECONDS"
 * as one datagram to the Unix socket in $BENCH_SOCKET, then idles. With a second argument MILLISECONDS it also says
 * READY=1 and then WATCHDOG=1 that often to $NOTIFY_SOCKET. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void say(const char *path, const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    sendto(fd, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address);
    close(fd);
}

int main(int count, char **arguments) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const char *bench = getenv("BENCH_SOCKET"), *notify = getenv("NOTIFY_SOCKET");
    if (bench && count > 1) {
        char text[128];
        long long nanoseconds = now.tv_sec * 1000000000LL + now.tv_nsec;
        snprintf(text, sizeof text, "%s %d %lld", arguments[1], (int)getpid(), nanoseconds);
        say(bench, text);
    }
    if (count > 2 && notify) {
        say(notify, "READY=1");
        for (;;) {
            poll(0, 0, atoi(arguments[2]));
            say(notify, "WATCHDOG=1");
        }
    }
    for (;;) pause();
}

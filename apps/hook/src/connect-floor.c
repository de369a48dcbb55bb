/*
 * The floor of the bench: what any hook client has to do at least. Connects to the socket that argv[1] names, sends what
 * stdin holds, waits until the server answers, exits. It checks nothing and obeys nothing.
 */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char buffer[1 << 17];

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc < 2 || strlen(argv[1]) >= sizeof address.sun_path) return 1;
  strcpy(address.sun_path, argv[1]);
  int peer = socket(AF_UNIX, SOCK_STREAM, 0);
  if (peer < 0 || connect(peer, (struct sockaddr *)&address, sizeof address) != 0) return 1;
  for (;;) {
    ssize_t got = read(0, buffer, sizeof buffer);
    if (got < 0) return 1;
    if (got == 0) break;
    for (ssize_t sent = 0; sent < got;) {
      ssize_t wrote = write(peer, buffer + sent, (size_t)(got - sent));
      if (wrote <= 0) return 1;
      sent += wrote;
    }
  }
  return read(peer, buffer, sizeof buffer) > 0 ? 0 : 1;
}

/*
 * The hook client an agent runs on every tool call: stdin to the hook server's socket, the reply to stdout, stderr and
 * exit code. The same contract as its TypeScript twin (apps/cli/src/hooks/client.ts), in a fraction of the time.
 *
 * Arguments: <agent> <event> <socket> <failure exit 0|2> <server pid> <longest wait, ms>
 *
 * Rules:
 * - Everything it needs stands in its arguments. It reads no environment variable and never parses the input.
 * - Whatever goes wrong ends in the failure answer: exit 2 with a reason on stderr where a failure must block, else a
 *   silent 0 and one line in <socket>.missed.
 * - Unlike the twin it sees who listens: an impostor that took the socket's place is not the server's process. The daemon
 *   of `kontext setup` has no process id that settings could name: there the pid is 0 and the server's user is compared.
 * - `%u` in the path of the socket is the id of our user, so that one text of managed settings serves everybody.
 * - The frames are stated in apps/cli/src/hooks/client-frames.ts; testdata/frames.json holds vectors for both clients.
 */
#include "kontext-hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_DEADLINE_MS = 1500, DAEMON_DEADLINE_MS = 5000, KEY_BYTES = 32, SELF_TEST_KIND = 3, HOOK_KIND = 1 };
enum { MAX_HEAD = 1 << 20, MAX_TAIL = 4096, MAX_REPLY = 11 + 2 * MAX_OUTPUT };

static char **args;
static unsigned char head[MAX_HEAD], tail[MAX_TAIL], inbox[MAX_REPLY + 1];

static void write_all(int fd, const void *bytes, size_t length) {
  for (const char *p = bytes; length > 0;) {
    ssize_t done = write(fd, p, length);
    if (done < 0 && errno == EAGAIN) {
      struct pollfd ready = {.fd = fd, .events = POLLOUT};
      (void)poll(&ready, 1, 100);
    } else if (done < 0 && errno != EINTR) {
      return; /* an agent that has gone away is no failure */
    } else if (done > 0) {
      p += done, length -= (size_t)done;
    }
  }
}

/* Joins texts; cut where they do not fit, which only a hostile argument reaches. */
static void join(char *out, size_t size, const char *a, const char *b) {
  snprintf(out, size, "%s%s", a, b);
}

static void note_missed(const char *reason) {
  char path[256], stamp[32], line[1024];
  struct timespec now;
  struct tm utc;
  join(path, sizeof path, args[3], ".missed");
  clock_gettime(CLOCK_REALTIME, &now);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
  int length = snprintf(line, sizeof line - 1, "%s.%03ldZ %s %s %s", stamp, now.tv_nsec / 1000000, args[1], args[2], reason);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  for (int i = 0; i < length; i++) if (line[i] == '\n' || line[i] == '\r') line[i] = ' ';
  line[length] = '\n';
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd >= 0) write_all(fd, line, (size_t)length + 1);
}

static _Noreturn void fail(const char *reason) {
  if (strcmp(args[4], "2") != 0) {
    note_missed(reason);
    _exit(0);
  }
  char text[512];
  const char *next = args[5][0] == '0' ? "start the agent again; `kontext doctor --hook` says what is wrong"
                                       : "end the agent and run `kontext start` again";
  int length = snprintf(text, sizeof text,
                        "kontext: this call is blocked, because it could not be checked (%s); %s\n", reason, next);
  write_all(2, text, (size_t)length);
  _exit(2);
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static long parse_number(const char *text, const char *what) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < 0 || *text == '+' || *text == ' ') fail(what);
  return value;
}

/* Keeps the first MiB and the last bytes of the rest; agents hand stdin over as a socket that may not block. */
static uint64_t read_stdin(size_t *head_length, size_t *tail_length) {
  uint64_t total = 0;
  for (;;) {
    static unsigned char chunk[65536];
    int fits = *head_length < MAX_HEAD;
    ssize_t count = fits ? read(0, head + *head_length, MAX_HEAD - *head_length) : read(0, chunk, sizeof chunk);
    if (count == 0) return total;
    if (count < 0) {
      struct pollfd ready = {.fd = 0, .events = POLLIN};
      if (errno == EAGAIN) (void)poll(&ready, 1, -1);
      else if (errno != EINTR) fail("standard input cannot be read");
      continue;
    }
    total += (uint64_t)count;
    if (fits) {
      *head_length += (size_t)count;
      continue;
    }
    size_t fresh = (size_t)count < MAX_TAIL ? (size_t)count : MAX_TAIL;
    size_t kept = *tail_length + fresh <= MAX_TAIL ? *tail_length : MAX_TAIL - fresh;
    memmove(tail, tail + *tail_length - kept, kept);
    memcpy(tail + kept, chunk + count - fresh, fresh);
    *tail_length = kept + fresh;
  }
}

static void read_key(unsigned char *key) {
  char path[256];
  struct stat file;
  join(path, sizeof path, args[3], ".key");
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &file) != 0) fail("the key file cannot be read");
  if (!S_ISREG(file.st_mode) || file.st_uid != geteuid() || (file.st_mode & 0377) != 0) fail("the key file is open to others");
  if (file.st_size != KEY_BYTES || read(fd, key, KEY_BYTES) != KEY_BYTES) fail("the key file does not hold a key");
  close(fd);
}

/* Whether the process at the other end is the one that our settings were written by; pid 0 asks for its user alone. */
static int is_server(int fd, long pid) {
#ifdef SO_PEERCRED
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != geteuid()) return 0;
  return pid == 0 || (long)peer.pid == pid;
#else
  uid_t uid;
  gid_t gid;
  pid_t peer = 0;
  socklen_t size = sizeof peer;
  if (getpeereid(fd, &uid, &gid) != 0 || uid != geteuid()) return 0;
  return pid == 0 || (getsockopt(fd, 0 /* SOL_LOCAL */, LOCAL_PEERPID, &peer, &size) == 0 && (long)peer == pid);
#endif
}

static int connect_server(long pid, long deadline) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct stat file;
  if (strlen(args[3]) >= sizeof address.sun_path) fail("the path of the socket is too long");
  memcpy(address.sun_path, args[3], strlen(args[3]) + 1);
  if (lstat(args[3], &file) != 0) fail("ENOENT");
  if (!S_ISSOCK(file.st_mode) || file.st_uid != geteuid()) fail("the socket is not ours");
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) fail("socket error");
  while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    if (errno != EAGAIN && errno != EINTR) fail(errno == ECONNREFUSED ? "ECONNREFUSED" : "socket error");
    if (now_ms() >= deadline) fail("no answer in time");
    poll(NULL, 0, 2); /* the backlog is full: there is nothing to wait on */
  }
  if (!is_server(fd, pid)) fail("another process listens on the socket");
  return fd;
}

/* Waits until the socket can be read or written. */
static void await(int fd, short events, long deadline) {
  for (;;) {
    struct pollfd ready = {.fd = fd, .events = events};
    long left = deadline - now_ms();
    if (left <= 0) fail("no answer in time");
    if (poll(&ready, 1, left > 60000 ? 60000 : (int)left) > 0) return;
  }
}

/* A server that closes early may still have answered: what it sent is read, and judged, by `receive`. */
static void send_bytes(int fd, const void *bytes, size_t length, long deadline) {
  for (const char *p = bytes; length > 0;) {
    ssize_t done = write(fd, p, length);
    if (done > 0) p += done, length -= (size_t)done;
    else if (errno == EAGAIN) await(fd, POLLOUT, deadline);
    else if (errno != EINTR) return;
  }
}

static unsigned char *put_number(unsigned char *out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; i--, value >>= 8) out[i] = (unsigned char)value;
  return out + bytes;
}

static unsigned char *put_text(unsigned char *out, const char *text) {
  size_t length = strlen(text);
  if (length > 255) fail("a name is over 255 bytes");
  *out++ = (unsigned char)length;
  memcpy(out, text, length);
  return out + length;
}

static void send_request(int fd, const unsigned char *key, uint64_t total, size_t head_length, size_t tail_length, long deadline) {
  unsigned char front[2 + KEY_BYTES + 2 * 256 + 12], *out = front, size[4];
  *out++ = FRAME_VERSION;
  *out++ = strcmp(args[2], "self-test") == 0 ? SELF_TEST_KIND : HOOK_KIND;
  memcpy(out, key, KEY_BYTES);
  out = put_text(put_text(out + KEY_BYTES, args[1]), args[2]);
  out = put_number(put_number(out, total, 8), head_length, 4);
  send_bytes(fd, front, (size_t)(out - front), deadline);
  send_bytes(fd, head, head_length, deadline);
  put_number(size, tail_length, 4);
  send_bytes(fd, size, sizeof size, deadline);
  send_bytes(fd, tail, tail_length, deadline);
}

static uint32_t get_number(const unsigned char *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

enum frame_kind read_frame(const unsigned char *bytes, size_t length, struct frame *frame) {
  if (length > 0 && bytes[0] != FRAME_VERSION) return FRAME_BAD;
  if (length > 1 && bytes[1] != TYPE_HOLD && bytes[1] != TYPE_REPLY) return FRAME_BAD;
  if (length < 6) return FRAME_PARTIAL;
  frame->used = 6;
  frame->hold_ms = get_number(bytes + 2);
  if (bytes[1] == TYPE_HOLD) return FRAME_HOLD;
  if (length < 7) return FRAME_PARTIAL;
  frame->exit_code = bytes[2];
  frame->stdout_length = get_number(bytes + 3);
  if (frame->stdout_length > MAX_OUTPUT) return FRAME_BAD;
  frame->stdout_bytes = bytes + 7;
  size_t at = 7 + frame->stdout_length;
  if (length < at + 4) return FRAME_PARTIAL;
  frame->stderr_length = get_number(bytes + at);
  if (frame->stderr_length > MAX_OUTPUT) return FRAME_BAD;
  frame->stderr_bytes = bytes + at + 4;
  frame->used = at + 4 + frame->stderr_length;
  return length < frame->used ? FRAME_PARTIAL : FRAME_REPLY;
}

/* Reads until the reply is whole. Each hold frame moves the deadline, never beyond `latest`. */
static _Noreturn void receive(int fd, long deadline, long latest) {
  size_t length = 0;
  struct frame frame;
  for (;;) {
    enum frame_kind kind = read_frame(inbox, length, &frame);
    if (kind == FRAME_BAD) fail("garbage from the hook server");
    if (kind == FRAME_HOLD) {
      long until = now_ms() + (long)frame.hold_ms;
      deadline = until < latest ? until : latest;
      memmove(inbox, inbox + frame.used, length -= frame.used);
      continue;
    }
    if (kind == FRAME_REPLY) {
      if (length > frame.used) fail("bytes after the reply");
      write_all(2, frame.stderr_bytes, frame.stderr_length);
      write_all(1, frame.stdout_bytes, frame.stdout_length);
      _exit(frame.exit_code);
    }
    await(fd, POLLIN, deadline);
    ssize_t count = read(fd, inbox + length, sizeof inbox - length);
    if (count > 0) length += (size_t)count;
    else if (count == 0) fail("connection closed without an answer");
    else if (errno != EAGAIN && errno != EINTR) fail("connection closed without an answer");
  }
}

static char *with_user(char *path) {
  static char out[256];
  char *mark = strstr(path, "%u");
  if (mark == NULL) return path;
  snprintf(out, sizeof out, "%.*s%u%s", (int)(mark - path), path, (unsigned)geteuid(), mark + 2);
  return out;
}

#ifndef KONTEXT_HOOK_NO_MAIN
int main(int argc, char **argv) {
  unsigned char key[KEY_BYTES];
  size_t head_length = 0, tail_length = 0;
  /* No socket: no session. A forgotten hook entry disturbs nobody. */
  if (argc < 4 || argv[3][0] == '\0') return 0;
  char *known[] = {argv[0], argv[1], argv[2], with_user(argv[3]), argc > 4 ? argv[4] : "0", argc > 5 ? argv[5] : ""};
  args = known;
  signal(SIGPIPE, SIG_IGN);
  if (argc != 7 || argv[1][0] == '\0' || argv[2][0] == '\0') fail("the hook was called wrongly");
  if (strcmp(argv[4], "0") != 0 && strcmp(argv[4], "2") != 0) fail("the failure exit is neither 0 nor 2");
  long pid = parse_number(argv[5], "the server pid is not a number");
  long wait = parse_number(argv[6], "the longest wait is not a number");
  if (wait < 1) fail("the longest wait is not a number");
  read_key(key);
  uint64_t total = read_stdin(&head_length, &tail_length);
  long start = now_ms(), latest = start + wait;
  /* The daemon opens sessions beside others, which may keep it from saying that it works on it. */
  long first = start + (pid == 0 ? DAEMON_DEADLINE_MS : FIRST_DEADLINE_MS);
  long deadline = latest < first ? latest : first;
  int fd = connect_server(pid, deadline);
  send_request(fd, key, total, head_length, tail_length, deadline);
  receive(fd, deadline, latest);
}
#endif

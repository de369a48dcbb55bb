/*
 * The hook client an agent runs on every tool call: stdin to the hook server's socket, the reply to stdout, stderr and
 * exit code. The same contract as its TypeScript twin (apps/cli/src/hooks/client.ts), in a fraction of the time.
 *
 * Arguments: <agent> <event> <socket> <failure exit 0|2> <server pid> <longest wait, ms>
 *
 * Rules:
 * - Everything it needs stands in its arguments. It reads no environment variable and never parses the input.
 * - Whatever goes wrong ends in the failure answer: exit 2 with a reason on stderr where a failure must block, else a
 *   silent 0 and one line in <socket>.missed. One timer, `arm`, ends every wait for the server that way.
 * - Unlike the twin it sees who listens: an impostor that took the socket's place is not the server's process. The daemon
 *   of `kontext setup` has no process id that settings could name: there the pid is 0 and the server's user is compared.
 * - `%u` in the path of the socket is the id of our user, so that one text of managed settings serves everybody.
 * - The frames are stated in apps/cli/src/hooks/client-frames.ts; testdata/frames.json holds vectors for both clients.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { AGENT = 1, EVENT, SOCKET, FAILURE, PID, WAIT };
enum { FIRST_DEADLINE_MS = 1500, DAEMON_DEADLINE_MS = 5000 };
enum { FRAME_VERSION = 1, HOOK_KIND = 1, SELF_TEST_KIND = 3, TYPE_REPLY = 1, TYPE_HOLD = 2, KEY_BYTES = 32 };
enum { MAX_HEAD = 1 << 20, MAX_TAIL = 4096, MAX_OUTPUT = 1 << 20, MAX_REPLY = 11 + 2 * MAX_OUTPUT };
enum frame_kind { FRAME_PARTIAL, FRAME_HOLD, FRAME_REPLY, FRAME_BAD };

/* What `read_frame` finds; the outputs (stdout, stderr) point into the bytes it was given. */
struct frame {
  size_t used;
  uint32_t hold_ms;
  int exit_code;
  struct { const unsigned char *bytes; size_t length; } output[2];
};

static char **args;
/* Head and tail of stdin, one behind the other, and room to read more before the tail moves up. */
static unsigned char input[MAX_HEAD + MAX_TAIL + 65536], inbox[MAX_REPLY + 1];

/* Whether a failed call is made again: it was interrupted, or may not block and is ready now. */
static int may_retry(int fd, short events) {
  struct pollfd ready = {.fd = fd, .events = events};
  if (errno == EAGAIN) return poll(&ready, 1, -1) > 0 || errno == EINTR;
  return errno == EINTR;
}

/* An agent that has gone away is no failure; what a server sent that closed early is read and judged by `receive`. */
static void write_all(int fd, const void *bytes, size_t length) {
  for (const char *p = bytes; length > 0;) {
    ssize_t done = write(fd, p, length);
    if (done > 0) p += done, length -= (size_t)done;
    else if (!may_retry(fd, POLLOUT)) return;
  }
}

static void note_missed(const char *reason) {
  char path[256], stamp[32], line[1024];
  struct timespec now;
  struct tm utc;
  snprintf(path, sizeof path, "%s.missed", args[SOCKET]);
  clock_gettime(CLOCK_REALTIME, &now);
  strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
  int length = snprintf(line, sizeof line - 1, "%s.%03ldZ %s %s %s", stamp, now.tv_nsec / 1000000, args[AGENT], args[EVENT], reason);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  for (int i = 0; i < length; i++) if (line[i] == '\n' || line[i] == '\r') line[i] = ' ';
  line[length] = '\n';
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0600);
  if (fd >= 0) write_all(fd, line, (size_t)length + 1);
}

static _Noreturn void fail(const char *reason) {
  char text[512];
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  if (strcmp(args[FAILURE], "2") != 0) {
    note_missed(reason);
    _exit(0);
  }
  const char *next = args[PID][0] == '0' ? "start the agent again; `kontext doctor --hook` says what is wrong"
                                         : "end the agent and run `kontext start` again";
  int length = snprintf(text, sizeof text, "kontext: this call is blocked, because it could not be checked (%s); %s\n", reason, next);
  write_all(2, text, (size_t)length);
  _exit(2);
}

/* Once the timer runs, nothing it could interrupt but `fail`, which stops it, calls what a handler may not. */
static void on_alarm(int number) {
  (void)number;
  fail("no answer in time");
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void arm(long deadline) {
  long left = deadline - now_ms();
  if (left <= 0) fail("no answer in time");
  setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {left / 1000, left % 1000 * 1000}}, NULL);
}

static long parse_number(const char *text, const char *what) {
  char *end;
  long value = strtol(text, &end, 10);
  if (*text < '0' || *text > '9' || *end != '\0' || value >= INT_MAX) fail(what);
  return value;
}

/* Keeps the first MiB and the last bytes of the rest; agents hand stdin over as a socket that may not block. */
static size_t read_stdin(uint64_t *total) {
  for (size_t kept = 0;;) {
    ssize_t count = read(0, input + kept, sizeof input - kept);
    if (count == 0) return kept;
    if (count < 0 && !may_retry(0, POLLIN)) fail("standard input cannot be read");
    if (count > 0) kept += (size_t)count, *total += (uint64_t)count;
    if (kept > MAX_HEAD + MAX_TAIL) {
      memmove(input + MAX_HEAD, input + kept - MAX_TAIL, MAX_TAIL);
      kept = MAX_HEAD + MAX_TAIL;
    }
  }
}

static void read_key(unsigned char *key) {
  char path[256];
  struct stat file;
  snprintf(path, sizeof path, "%s.key", args[SOCKET]);
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &file) != 0) fail("the key file cannot be read");
  if (!S_ISREG(file.st_mode) || file.st_uid != geteuid() || (file.st_mode & 0377) != 0) fail("the key file is open to others");
  if (file.st_size != KEY_BYTES || read(fd, key, KEY_BYTES) != KEY_BYTES) fail("the key file does not hold a key");
}

/* Whether the process at the other end is the one that our settings were written by; pid 0 asks for its user alone. */
static int is_server(int fd, long pid) {
#ifdef SO_PEERCRED
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return 0;
#else
  struct { uid_t uid; gid_t gid; pid_t pid; } peer = {0};
  socklen_t size = sizeof peer.pid;
  if (getpeereid(fd, &peer.uid, &peer.gid) != 0) return 0;
  if (pid != 0 && getsockopt(fd, 0 /* SOL_LOCAL */, LOCAL_PEERPID, &peer.pid, &size) != 0) return 0;
#endif
  return peer.uid == geteuid() && (pid == 0 || (long)peer.pid == pid);
}

static int connect_server(long pid) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct stat file;
  if (strlen(args[SOCKET]) >= sizeof address.sun_path) fail("the path of the socket is too long");
  memcpy(address.sun_path, args[SOCKET], strlen(args[SOCKET]) + 1);
  if (lstat(args[SOCKET], &file) != 0) fail("ENOENT");
  if (!S_ISSOCK(file.st_mode) || file.st_uid != geteuid()) fail("the socket is not ours");
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    if (errno != EINTR) fail(errno == ECONNREFUSED ? "ECONNREFUSED" : "socket error");
  if (!is_server(fd, pid)) fail("another process listens on the socket");
  return fd;
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

static void send_request(int fd, const unsigned char *key, uint64_t total, size_t kept) {
  size_t head_length = kept < MAX_HEAD ? kept : MAX_HEAD;
  unsigned char front[2 + KEY_BYTES + 2 * 256 + 12], *out = front, size[4];
  *out++ = FRAME_VERSION;
  *out++ = strcmp(args[EVENT], "self-test") == 0 ? SELF_TEST_KIND : HOOK_KIND;
  memcpy(out, key, KEY_BYTES);
  out = put_text(put_text(out + KEY_BYTES, args[AGENT]), args[EVENT]);
  out = put_number(put_number(out, total, 8), head_length, 4);
  write_all(fd, front, (size_t)(out - front));
  write_all(fd, input, head_length);
  write_all(fd, size, (size_t)(put_number(size, kept - head_length, 4) - size));
  write_all(fd, input + head_length, kept - head_length);
}

static uint32_t get_number(const unsigned char *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Reads the first frame of what has arrived. Partial: more has to arrive; bad: the other side does not speak the format. */
static enum frame_kind read_frame(const unsigned char *bytes, size_t length, struct frame *frame) {
  if (length > 0 && bytes[0] != FRAME_VERSION) return FRAME_BAD;
  if (length > 1 && bytes[1] != TYPE_HOLD && bytes[1] != TYPE_REPLY) return FRAME_BAD;
  if (length < 6) return FRAME_PARTIAL;
  frame->hold_ms = get_number(bytes + 2);
  frame->used = 6;
  if (bytes[1] == TYPE_HOLD) return FRAME_HOLD;
  frame->exit_code = bytes[2];
  frame->used = 3;
  for (int i = 0; i < 2; i++) {
    if (length < frame->used + 4) return FRAME_PARTIAL;
    frame->output[i].length = get_number(bytes + frame->used);
    if (frame->output[i].length > MAX_OUTPUT) return FRAME_BAD;
    frame->output[i].bytes = bytes + frame->used + 4;
    frame->used += 4 + frame->output[i].length;
  }
  return length < frame->used ? FRAME_PARTIAL : FRAME_REPLY;
}

/* Reads until the reply is whole. Each hold frame moves the deadline, never beyond `latest`. */
static _Noreturn void receive(int fd, long deadline, long latest) {
  struct frame frame;
  for (size_t length = 0;;) {
    enum frame_kind kind = read_frame(inbox, length, &frame);
    if (kind == FRAME_BAD) fail("garbage from the hook server");
    if (kind == FRAME_REPLY && length > frame.used) fail("bytes after the reply");
    if (kind == FRAME_REPLY) {
      setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
      write_all(2, frame.output[1].bytes, frame.output[1].length);
      write_all(1, frame.output[0].bytes, frame.output[0].length);
      _exit(frame.exit_code);
    }
    if (kind == FRAME_HOLD) {
      long until = now_ms() + (long)frame.hold_ms;
      deadline = until < latest ? until : latest;
      memmove(inbox, inbox + frame.used, length -= frame.used);
      continue;
    }
    arm(deadline);
    ssize_t count = read(fd, inbox + length, sizeof inbox - length);
    if (count > 0) length += (size_t)count;
    else if (count == 0 || errno != EINTR) fail("connection closed without an answer");
  }
}

#ifndef KONTEXT_HOOK_NO_MAIN
static char *with_user(char *path) {
  static char out[256];
  char *mark = strstr(path, "%u");
  if (mark == NULL) return path;
  snprintf(out, sizeof out, "%.*s%u%s", (int)(mark - path), path, (unsigned)geteuid(), mark + 2);
  return out;
}

int main(int argc, char **argv) {
  unsigned char key[KEY_BYTES];
  uint64_t total = 0;
  sigset_t none;
  /* No socket: no session. A forgotten hook entry disturbs nobody. */
  if (argc <= SOCKET || argv[SOCKET][0] == '\0') return 0;
  args = (char *[]){argv[0], argv[AGENT], argv[EVENT], with_user(argv[SOCKET]), argc > FAILURE ? argv[FAILURE] : "0", argc > PID ? argv[PID] : ""};
  /* Whatever the agent blocks or ignores, the timer is heard. */
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGALRM, on_alarm);
  signal(SIGPIPE, SIG_IGN);
  if (argc != WAIT + 1 || argv[AGENT][0] == '\0' || argv[EVENT][0] == '\0') fail("the hook was called wrongly");
  if (strcmp(argv[FAILURE], "0") != 0 && strcmp(argv[FAILURE], "2") != 0) fail("the failure exit is neither 0 nor 2");
  long pid = parse_number(argv[PID], "the server pid is not a number");
  long wait = parse_number(argv[WAIT], "the longest wait is not a number");
  if (wait < 1) fail("the longest wait is not a number");
  read_key(key);
  size_t kept = read_stdin(&total);
  /* The daemon opens sessions beside others, which may keep it from saying that it works on it. */
  long start = now_ms(), first = pid == 0 ? DAEMON_DEADLINE_MS : FIRST_DEADLINE_MS;
  long deadline = start + (wait < first ? wait : first);
  arm(deadline);
  int fd = connect_server(pid);
  send_request(fd, key, total, kept);
  receive(fd, deadline, start + wait);
}
#endif

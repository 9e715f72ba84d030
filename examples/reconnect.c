/* A client that survives a restart although its connection does not: one callback closes the socket
 * before a checkpoint and connects again afterwards.
 *
 *   reconnect HOST PORT
 *
 * It sends numbers, a line each, waits for the answer to each, and ends when the answer is "bye".
 */
#include <errno.h>
#include <libcr.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct connection {
  const char* host;
  const char* port;
  int socket;
};

static int dial(const struct connection* to) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo *found, *each;
  int fd = -1;

  if (getaddrinfo(to->host, to->port, &hints, &found) != 0) return -1;
  for (each = found; each != NULL && fd < 0; each = each->ai_next) {
    fd = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
    if (fd >= 0 && connect(fd, each->ai_addr, each->ai_addrlen) != 0) {
      close(fd);
      fd = -1;
    }
  }
  freeaddrinfo(found);
  return fd;
}

/* Whatever became of the checkpoint, the program needs its connection again. Having none, it could
 * not go on: anything but 0 makes a restart fail. */
static int around_checkpoint(void* arg) {
  struct connection* connection = arg;
  int code;

  close(connection->socket);
  code = cr_checkpoint(CR_CHECKPOINT_READY);
  connection->socket = dial(connection);
  fprintf(stderr, "%s, %s\n",
          code > 0    ? "restarted"
          : code == 0 ? "saved"
                      : cr_strerror(-code),
          connection->socket >= 0 ? "connected again" : "not connected");
  return connection->socket < 0;
}

/* Sends one line and reads one. A checkpoint in between would lose the answer. */
static int ask(const struct connection* server, cr_client_id_t id, int number, char answer[64]) {
  int length = 0;

  cr_enter_cs(id);
  dprintf(server->socket, "%d\n", number);
  while (length < 63 && read(server->socket, answer + length, 1) == 1 && answer[length] != '\n') {
    ++length;
  }
  answer[length] = '\0';
  cr_leave_cs(id);
  return length;
}

int main(int argc, char** argv) {
  struct connection server = {.socket = -1};
  const cr_client_id_t id = cr_init();
  char answer[64];
  int number = 0;

  if (argc != 3) {
    fprintf(stderr, "usage: %s HOST PORT\n", argv[0]);
    return 2;
  }
  server.host = argv[1];
  server.port = argv[2];
  server.socket = dial(&server);
  if (server.socket < 0) {
    fprintf(stderr, "%s: no answer at port %s of %s\n", argv[0], server.port, server.host);
    return 1;
  }
  if (id < 0 || cr_register_callback(around_checkpoint, &server, CR_THREAD_CONTEXT) < 0) {
    fprintf(stderr, "%s: no checkpoints: %s\n", argv[0], cr_strerror(errno));
    return 1;
  }
  do {
    if (ask(&server, id, ++number, answer) == 0) {
      fprintf(stderr, "%s: no answer to %d\n", argv[0], number);
      return 1;
    }
    printf("%d: %s\n", number, answer);
    fflush(stdout);
    usleep(10000);
  } while (strcmp(answer, "bye") != 0);
  return 0;
}

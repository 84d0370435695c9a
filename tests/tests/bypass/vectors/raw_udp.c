/* A raw socket that writes its own UDP header. */
#include "vector.h"

#include <netinet/udp.h>

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(target.family, SOCK_RAW, IPPROTO_UDP);
    struct { struct udphdr header; char data[sizeof MESSAGE]; } packet = {.data = MESSAGE};
    packet.header.source = htons(5353);
    packet.header.dest = htons(target.port);
    packet.header.len = htons(sizeof packet);
    if (target.family == AF_INET6) ((struct sockaddr_in6 *)&target.addr)->sin6_port = 0;
    checked(sendto(fd, &packet, sizeof packet, 0, sa(&target), target.len), "sendto");
    return 0;
}

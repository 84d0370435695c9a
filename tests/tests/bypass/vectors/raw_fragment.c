/* A raw socket that sends the second fragment of a packet, which has no port. */
#include "vector.h"

#include <netinet/ip.h>

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    struct { struct iphdr ip; char data[sizeof MESSAGE]; } packet = {.data = MESSAGE};
    packet.ip.version = 4;
    packet.ip.ihl = 5;
    packet.ip.ttl = 64;
    packet.ip.id = htons(77);
    packet.ip.frag_off = htons(1);
    packet.ip.protocol = IPPROTO_UDP;
    packet.ip.daddr = ((struct sockaddr_in *)&target.addr)->sin_addr.s_addr;
    checked(sendto(fd, &packet, sizeof packet, 0, sa(&target), target.len), "sendto");
    return 0;
}

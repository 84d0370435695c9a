/* A raw socket that writes its own IP header too, and begins a TCP connection. */
#include "vector.h"

#include <netinet/ip.h>

int main(int argc, char **argv) {
    struct target target = start(argc, argv);
    drop_privileges();
    int fd = new_socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    struct { struct iphdr ip; struct tcphdr tcp; } packet = {0};
    packet.ip.version = 4;
    packet.ip.ihl = 5;
    packet.ip.ttl = 64;
    packet.ip.protocol = IPPROTO_TCP;
    packet.ip.daddr = ((struct sockaddr_in *)&target.addr)->sin_addr.s_addr;
    packet.tcp.source = htons(5353);
    packet.tcp.dest = htons(target.port);
    packet.tcp.doff = 5;
    packet.tcp.syn = 1;
    checked(sendto(fd, &packet, sizeof packet, 0, sa(&target), target.len), "sendto");
    return 0;
}

/* `getent hosts NAME-OR-ADDRESS` like musl's own, for containers whose C library is not glibc.
 *
 *     musl-gcc -static -o getent getent.c && ./getent hosts web.mesh.local
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found, *each;
    char name[256], address[64];

    if (argc != 3 || strcmp(argv[1], "hosts")) {
        fprintf(stderr, "usage: getent hosts NAME-OR-ADDRESS\n");
        return 1;
    }
    if (getaddrinfo(argv[2], NULL, &hints, &found))
        return 2;
    hints.ai_flags = AI_NUMERICHOST;
    struct addrinfo *numeric = NULL;
    int is_address = !getaddrinfo(argv[2], NULL, &hints, &numeric);
    for (each = found; each; each = each->ai_next) {
        if (getnameinfo(each->ai_addr, each->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST))
            return 3;
        if (!is_address)
            printf("%s %s\n", address, argv[2]);
        else if (getnameinfo(each->ai_addr, each->ai_addrlen, name, sizeof name, NULL, 0, NI_NAMEREQD))
            return 2;
        else
            printf("%s %s\n", address, name);
    }
    return 0;
}

/*
 * A program that forks while it signs.
 *
 *   fork churn SEED   threads sign and encrypt all the time; children of every kind come and go.
 *                     When all are done it says "settled" and keeps its connections until stdin
 *                     ends, so that they can be counted.
 *   fork quiet        one thread; looks at its sockets before and after each child.
 *   fork fresh        what a child executes: nothing inherited, and signs.
 *
 * A child that hangs is ended by its alarm, which fails the program.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "p11.h"

#define LABEL "fork"
#define SIGNERS 4
#define CHILDREN 48
#define CHILDREN_AT_ONCE 4
#define CHILDREN_OF_A_SIGNER 8
#define CHILD_SECONDS 60

static CK_FUNCTION_LIST_PTR p11;
static atomic_bool stop;
static atomic_ulong calls;

/* One thread's or process' way to the keys. */
typedef struct {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE public_key, private_key, aes_key;
} Keys;

static Keys find_keys(CK_SESSION_HANDLE session)
{
    return (Keys) {
        .session = session,
        .public_key = find(p11, session, CKO_PUBLIC_KEY, LABEL),
        .private_key = find(p11, session, CKO_PRIVATE_KEY, LABEL),
        .aes_key = find(p11, session, CKO_SECRET_KEY, LABEL),
    };
}

/* One signature and one encryption, checked by their opposites where `check` says so. */
static void work(const Keys *keys, unsigned round, bool check)
{
    CK_BYTE digest[32], signature[64], iv[12], data[100], sealed[sizeof data + GCM_TAG];
    CK_BYTE opened[sizeof sealed];
    memset(digest, (int)round, sizeof digest);
    memset(data, (int)(round * 7), sizeof data);
    MUST(sign_p256(p11, keys->session, keys->private_key, digest, signature));
    MUST(encrypt_gcm(p11, keys->session, keys->aes_key, iv, data, sizeof data, sealed));
    calls += 2;
    if (check) {
        MUST(verify_p256(p11, keys->session, keys->public_key, digest, signature));
        MUST(decrypt_gcm(p11, keys->session, keys->aes_key, iv, sealed, sizeof sealed, opened));
        CHECK(memcmp(opened, data, sizeof data) == 0);
        calls += 2;
    }
}

static void *sign_once(void *unused)
{
    (void)unused;
    Keys keys = find_keys(open_session(p11));
    for (unsigned round = 0; round < 4; round++)
        work(&keys, round, true);
    return NULL;
}

/* To a child the module is not initialised, whatever its parent had (PKCS#11 2.40, section 5.4). */
static void must_be_uninitialised(CK_SESSION_HANDLE of_the_parent)
{
    CK_INFO info;
    CK_SESSION_HANDLE session;
    CK_BYTE byte;
    EXPECT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_GenerateRandom(of_the_parent, &byte, 1), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session),
           CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* A child's whole life: from its parent's state to its own, and away in order. */
static Keys begin(CK_SESSION_HANDLE of_the_parent)
{
    must_be_uninitialised(of_the_parent);
    MUST(initialize(p11));
    CK_SESSION_HANDLE session = open_session(p11);
    login(p11, session);
    return find_keys(session);
}

static void end(void)
{
    MUST(p11->C_Finalize(NULL));
    EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* What a child does. */
enum { SIGNS, SIGNS_WITH_THREADS, HAS_A_CHILD, ONLY_EXITS, CALLS_AND_EXITS, IS_KILLED, EXECUTES, KINDS };

static void must_end_well(pid_t child, int status, int kind)
{
    if (kind == IS_KILLED && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fail("child %d of kind %d hangs", (int)child, kind);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("child %d of kind %d ends with status 0x%x", (int)child, kind, (unsigned)status);
}

static void wait_for(pid_t child, int kind)
{
    int status;
    while (waitpid(child, &status, 0) != child)
        CHECK(errno == EINTR);
    must_end_well(child, status, kind);
}

static pid_t fork_child(int kind, CK_SESSION_HANDLE of_the_parent);

__attribute__((noreturn)) static void be_child(int kind, CK_SESSION_HANDLE of_the_parent)
{
    alarm(CHILD_SECONDS);
    switch (kind) {
    case SIGNS: {
        Keys keys = begin(of_the_parent);
        for (unsigned round = 0; round < 8; round++)
            work(&keys, round, true);
        end();
        break;
    }
    case SIGNS_WITH_THREADS: {
        pthread_t threads[3];
        begin(of_the_parent);
        for (size_t i = 0; i < COUNT(threads); i++)
            CHECK(pthread_create(&threads[i], NULL, sign_once, NULL) == 0);
        for (size_t i = 0; i < COUNT(threads); i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        end();
        break;
    }
    case HAS_A_CHILD: {
        /* One grandchild before this child has a state of its own, one after. */
        pid_t early = fork_child(SIGNS, of_the_parent);
        Keys keys = begin(of_the_parent);
        pid_t late = fork_child(SIGNS, keys.session);
        for (unsigned round = 0; round < 8; round++)
            work(&keys, round, true);
        wait_for(early, SIGNS);
        wait_for(late, SIGNS);
        work(&keys, 0, true);
        end();
        break;
    }
    case ONLY_EXITS:
        break;
    case CALLS_AND_EXITS:
        must_be_uninitialised(of_the_parent);
        break;
    case IS_KILLED: {
        Keys keys = begin(of_the_parent);
        work(&keys, 0, true);
        kill(getpid(), SIGKILL);
        break;
    }
    case EXECUTES:
        execl("/proc/self/exe", "fork", "fresh", NULL);
        fail("exec: %s", strerror(errno));
    default:
        fail("no kind %d", kind);
    }
    /* With all that runs at the end of a program. */
    exit(0);
}

static pid_t fork_child(int kind, CK_SESSION_HANDLE of_the_parent)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        be_child(kind, of_the_parent);
    return child;
}

/* Signs until told to stop. The first one also forks, between two calls of its own. */
static void *signer(void *argument)
{
    bool forks = argument != NULL;
    Keys keys = find_keys(open_session(p11));
    int children = 0;
    unsigned round;
    for (round = 0; !stop || (forks && children < CHILDREN_OF_A_SIGNER); round++) {
        work(&keys, round, round % 8 == 0);
        if (forks && round % 16 == 0 && children < CHILDREN_OF_A_SIGNER) {
            int kind = children++ % KINDS;
            wait_for(fork_child(kind, keys.session), kind);
        }
    }
    return NULL;
}

static void on_child(int signal)
{
    (void)signal;
}

/* The parent's state: initialised, logged in, keys made. */
static Keys set_up(void)
{
    /* Without SA_RESTART: the module's system calls are interrupted when children end. */
    struct sigaction action = { .sa_handler = on_child };
    CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
    alarm(2 * CHILD_SECONDS);
    MUST(initialize(p11));
    CK_SESSION_HANDLE session = open_session(p11);
    login(p11, session);
    CK_OBJECT_HANDLE public_key, private_key;
    generate_p256(p11, session, LABEL, &public_key, &private_key);
    generate_aes(p11, session, LABEL);
    return find_keys(session);
}

static void churn(uint32_t seed)
{
    Keys keys = set_up();
    pthread_t threads[SIGNERS];
    for (size_t i = 0; i < SIGNERS; i++)
        CHECK(pthread_create(&threads[i], NULL, signer, i == 0 ? &keys : NULL) == 0);

    struct {
        pid_t process;
        int kind;
    } children[CHILDREN_AT_ONCE] = { 0 };
    for (unsigned number = 0; number < CHILDREN; number++) {
        /* Not a wait for something: the moment of the fork is to differ each time. */
        sleep_us(next_random(&seed) % 4000);
        size_t place = number % CHILDREN_AT_ONCE;
        if (children[place].process != 0)
            wait_for(children[place].process, children[place].kind);
        children[place].kind = (int)(number % KINDS);
        children[place].process = fork_child(children[place].kind, keys.session);
        /* This thread's own calls go on beside its children's. */
        work(&keys, number, true);
    }
    for (size_t place = 0; place < CHILDREN_AT_ONCE; place++)
        wait_for(children[place].process, children[place].kind);
    stop = true;
    for (size_t i = 0; i < SIGNERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    work(&keys, 0, true);

    alarm(0);
    dprintf(STDOUT_FILENO, "settled %lu\n", calls);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    MUST(p11->C_Finalize(NULL));
}

#define SOCKETS_MAX 16

/* The process' sockets, and what has gone through them. */
typedef struct {
    size_t count;
    struct {
        int file;
        char name[64]; /* "socket:[INODE]" */
        uint64_t sent, received;
        int state;
    } sockets[SOCKETS_MAX];
} Sockets;

static Sockets look_at_sockets(void)
{
    Sockets seen;
    memset(&seen, 0, sizeof seen);
    for (int file = 3; file < 256; file++) {
        char path[64], name[64] = { 0 };
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        if (readlink(path, name, sizeof name - 1) < 0 || strncmp(name, "socket:", 7) != 0)
            continue;
        CHECK(seen.count < SOCKETS_MAX);
        struct tcp_info info;
        socklen_t length = sizeof info;
        memset(&info, 0, sizeof info);
        /* A UNIX socket has none: its identity is compared alone. */
        if (getsockopt(file, IPPROTO_TCP, TCP_INFO, &info, &length) == 0)
            CHECK(length >= offsetof(struct tcp_info, tcpi_bytes_sent) + sizeof(uint64_t));
        seen.sockets[seen.count].file = file;
        memcpy(seen.sockets[seen.count].name, name, sizeof name);
        seen.sockets[seen.count].sent = info.tcpi_bytes_sent;
        seen.sockets[seen.count].received = info.tcpi_bytes_received;
        seen.sockets[seen.count].state = info.tcpi_state;
        seen.count++;
    }
    return seen;
}

static void quiet(void)
{
    Keys keys = set_up();
    work(&keys, 0, true);
    Sockets first = look_at_sockets();
    CHECK(first.count > 0);
    for (int kind = 0; kind < KINDS; kind++) {
        Sockets before = look_at_sockets();
        wait_for(fork_child(kind, keys.session), kind);
        Sockets after = look_at_sockets();
        if (memcmp(&before, &after, sizeof before) != 0)
            fail("a child of kind %d used its parent's sockets", kind);
        work(&keys, 1, true);
        /* Nor did the HSM close any: a parent that had to connect anew has another socket. */
        Sockets now = look_at_sockets();
        CHECK(now.count == first.count);
        for (size_t i = 0; i < now.count; i++)
            CHECK(strcmp(now.sockets[i].name, first.sockets[i].name) == 0);
    }
    MUST(p11->C_Finalize(NULL));
    CHECK(look_at_sockets().count == 0);
}

static void fresh(void)
{
    alarm(CHILD_SECONDS);
    CHECK(look_at_sockets().count == 0);
    Keys keys = begin(0);
    work(&keys, 0, true);
    end();
}

int main(int count, char **arguments)
{
    const char *part = count > 1 ? arguments[1] : "";
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    if (strcmp(part, "churn") == 0 && count > 2)
        churn((uint32_t)atoi(arguments[2]));
    else if (strcmp(part, "quiet") == 0)
        quiet();
    else if (strcmp(part, "fresh") == 0)
        fresh();
    else
        fail("fork churn SEED | quiet | fresh");
    return 0;
}

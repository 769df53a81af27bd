/*
 * A program that loads, initialises and drops the module in every order, under load.
 *
 *   module reload           loads and unloads it, with threads that used it and go on after that.
 *   module twice COPY       two handles on one file, and a copy of the file as a module of its own.
 *   module finalize SEED    C_Finalize while other threads are in calls.
 *   module restless SEED    threads call while others initialise and finalize.
 *   module cycles           files and memory over a hundred initialisations.
 *
 * Copyright the Strongroom authors. SPDX-License-Identifier: Apache-2.0
 */

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "p11.h"

#define THREADS 4

static CK_FUNCTION_LIST_PTR p11;

/* A login with keys of its own, that go with it. */
typedef struct {
    CK_SESSION_HANDLE session;
    CK_OBJECT_HANDLE public_key, private_key;
} Login;

static Login begin(void)
{
    Login own;
    MUST(initialize(p11));
    own.session = open_session(p11);
    login(p11, own.session);
    generate_p256(p11, own.session, NULL, &own.public_key, &own.private_key);
    return own;
}

static void sign(const Login *own, CK_SESSION_HANDLE session)
{
    CK_BYTE digest[32] = { 1 }, signature[64];
    MUST(sign_p256(p11, session, own->private_key, digest, signature));
    MUST(verify_p256(p11, session, own->public_key, digest, signature));
}

/* --- reload --- */

static pthread_barrier_t signed_all, unloaded;

static void *sign_and_end(void *own)
{
    sign(own, open_session(p11));
    return NULL;
}

/* Ends after the module was unloaded: what it left in the thread must not run then. */
static void *sign_and_stay(void *own)
{
    sign(own, open_session(p11));
    pthread_barrier_wait(&signed_all);
    pthread_barrier_wait(&unloaded);
    return NULL;
}

static void reload(void)
{
    CHECK(pthread_barrier_init(&signed_all, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&unloaded, NULL, 2) == 0);
    int files = 0;
    for (int round = 0; round < 50; round++) {
        Module module = module_load(variable("STRONGROOM_PKCS11"));
        p11 = module.functions;
        Login own = begin();
        pthread_t ending[THREADS], staying;
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_create(&ending[i], NULL, sign_and_end, &own) == 0);
        CHECK(pthread_create(&staying, NULL, sign_and_stay, &own) == 0);
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_join(ending[i], NULL) == 0);
        pthread_barrier_wait(&signed_all);
        /* Every other time without C_Finalize, as careless hosts do: the module stays in memory,
         * and its state is found again. */
        bool in_order = round % 2 == 0 || round == 49;
        if (in_order)
            MUST(p11->C_Finalize(NULL));
        CHECK(dlclose(module.library) == 0);
        pthread_barrier_wait(&unloaded);
        CHECK(pthread_join(staying, NULL) == 0);
        must_be_alone();
        if (!in_order) {
            module = module_load(variable("STRONGROOM_PKCS11"));
            p11 = module.functions;
            EXPECT(initialize(p11), CKR_CRYPTOKI_ALREADY_INITIALIZED);
            sign(&own, own.session);
            MUST(p11->C_Finalize(NULL));
            CHECK(dlclose(module.library) == 0);
        }
        if (round == 0)
            files = open_files();
        CHECK(open_files() == files);
    }
}

/* --- twice --- */

static void must_work(Module module)
{
    p11 = module.functions;
    Login own = begin();
    sign(&own, own.session);
}

static void twice(const char *copy)
{
    Module first = module_load(variable("STRONGROOM_PKCS11"));
    Module second = module_load(variable("STRONGROOM_PKCS11"));
    Module other = module_load(copy);
    /* One file is one module, however often it is opened. */
    CHECK(first.functions == second.functions);
    CHECK(first.functions != other.functions);

    must_work(first);
    EXPECT(initialize(second.functions), CKR_CRYPTOKI_ALREADY_INITIALIZED);
    CK_INFO info;
    EXPECT(other.functions->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
    must_work(other);
    CHECK(dlclose(second.library) == 0);
    must_be_alone();

    /* A child has inherited neither. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        EXPECT(first.functions->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
        EXPECT(other.functions->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
        must_work(other);
        must_work(first);
        MUST(first.functions->C_Finalize(NULL));
        exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);

    MUST(first.functions->C_Finalize(NULL));
    MUST(other.functions->C_GetInfo(&info));
    MUST(other.functions->C_Finalize(NULL));
    CHECK(dlclose(first.library) == 0);
    CHECK(dlclose(other.library) == 0);
}

/* --- finalize --- */

static Login shared;

/* Calls of every kind until the module is gone; the code that said so. */
static void *call_until_gone(void *argument)
{
    CK_SESSION_HANDLE session = *(CK_SESSION_HANDLE *)argument, another;
    CK_BYTE digest[32] = { 2 }, signature[64], random[16];
    CK_ATTRIBUTE value = { CKA_LABEL, random, sizeof random };
    CK_OBJECT_HANDLE found;
    CK_ULONG count;
    for (unsigned round = 0;; round++) {
        CK_RV rv = CKR_OK;
        switch (round % 5) {
        case 0:
            rv = sign_p256(p11, session, shared.private_key, digest, signature);
            break;
        case 1:
            rv = p11->C_GenerateRandom(session, random, sizeof random);
            break;
        case 2:
            rv = p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &another);
            if (rv == CKR_OK)
                rv = p11->C_CloseSession(another);
            break;
        case 3:
            rv = p11->C_GetAttributeValue(session, shared.public_key, &value, 1);
            break;
        case 4:
            rv = p11->C_FindObjectsInit(session, NULL, 0);
            if (rv == CKR_OK)
                rv = p11->C_FindObjects(session, &found, 1, &count);
            if (rv == CKR_OK)
                rv = p11->C_FindObjectsFinal(session);
            break;
        }
        if (rv == CKR_CRYPTOKI_NOT_INITIALIZED)
            return NULL;
        if (rv != CKR_OK)
            fail("call %u beside C_Finalize gives 0x%lx", round % 5, rv);
    }
}

static void finalize(uint32_t seed)
{
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    int files = 0;
    for (int round = 0; round < 40; round++) {
        pthread_t threads[THREADS];
        CK_SESSION_HANDLE sessions[THREADS];
        shared = begin();
        for (int i = 0; i < THREADS; i++) {
            sessions[i] = open_session(p11);
            CHECK(pthread_create(&threads[i], NULL, call_until_gone, &sessions[i]) == 0);
        }
        /* Not a wait for something: the moment is to differ each time. */
        sleep_us(next_random(&seed) % 8000);
        MUST(p11->C_Finalize(NULL));
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        must_be_alone();
        if (round == 0)
            files = open_files();
        CHECK(open_files() == files);
    }
}

/* --- restless --- */

static atomic_bool stop;
static atomic_uint finalized;

/* One of several that begin and end the module as if they were alone with it. */
static void *begin_and_end(void *seed)
{
    while (finalized < 200) {
        CK_RV rv = initialize(p11);
        if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
            fail("C_Initialize beside others gives 0x%lx", rv);
        sleep_us(next_random(seed) % 500);
        rv = p11->C_Finalize(NULL);
        if (rv == CKR_OK)
            finalized++;
        else if (rv != CKR_CRYPTOKI_NOT_INITIALIZED)
            fail("C_Finalize beside others gives 0x%lx", rv);
    }
    stop = true;
    return NULL;
}

static void *call_through(void *unused)
{
    (void)unused;
    while (!stop) {
        CK_SESSION_HANDLE session;
        CK_BYTE random[16];
        CK_TOKEN_INFO token;
        CK_RV rv = p11->C_GetTokenInfo(0, &token);
        if (rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED)
            fail("C_GetTokenInfo gives 0x%lx", rv);
        rv = p11->C_OpenSession(0, CKF_SERIAL_SESSION, NULL, NULL, &session);
        if (rv == CKR_CRYPTOKI_NOT_INITIALIZED)
            continue;
        if (rv != CKR_OK)
            fail("C_OpenSession gives 0x%lx", rv);
        /* The session may be of a module that has ended, and another has begun. */
        rv = p11->C_GenerateRandom(session, random, sizeof random);
        if (rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED && rv != CKR_SESSION_HANDLE_INVALID)
            fail("C_GenerateRandom gives 0x%lx", rv);
        rv = p11->C_CloseSession(session);
        if (rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED && rv != CKR_SESSION_HANDLE_INVALID)
            fail("C_CloseSession gives 0x%lx", rv);
    }
    return NULL;
}

static void restless(uint32_t seed)
{
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    pthread_t threads[2 * THREADS];
    uint32_t seeds[THREADS];
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = seed + (uint32_t)i;
        CHECK(pthread_create(&threads[i], NULL, begin_and_end, &seeds[i]) == 0);
        CHECK(pthread_create(&threads[THREADS + i], NULL, call_through, NULL) == 0);
    }
    for (int i = 0; i < 2 * THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    must_be_alone();
    EXPECT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

/* --- cycles --- */

/* Bytes that a hundred cycles may leave on the heap: none is ever seen where malloc keeps no cache
 * for threads, which counts as in use (GLIBC_TUNABLES=glibc.malloc.tcache_count=0). */
#define HEAP_GROWTH_MAX 1000

static void cycles(void)
{
    p11 = module_load(variable("STRONGROOM_PKCS11")).functions;
    int files = 0;
    size_t heap = 0;
    for (int cycle = 0; cycle < 110; cycle++) {
        if (cycle % 5 == 0) {
            Login own = begin();
            sign(&own, own.session);
            EXPECT(initialize(p11), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        } else {
            MUST(initialize(p11));
            /* One that is never closed. */
            open_session(p11);
        }
        /* The module's work is done in the threads that call it. */
        CHECK(entries("/proc/self/task") == 1);
        MUST(p11->C_Finalize(NULL));
        if (cycle == 9) {
            files = open_files();
            heap = mallinfo2().uordblks;
        }
    }
    CHECK(open_files() == files);
    size_t now = mallinfo2().uordblks;
    if (now > heap + HEAP_GROWTH_MAX)
        fail("a hundred cycles leave %zu bytes on the heap", now - heap);
}

int main(int count, char **arguments)
{
    const char *part = count > 1 ? arguments[1] : "";
    const char *more = count > 2 ? arguments[2] : NULL;
    alarm(120);
    if (strcmp(part, "reload") == 0)
        reload();
    else if (strcmp(part, "twice") == 0 && more != NULL)
        twice(more);
    else if (strcmp(part, "finalize") == 0 && more != NULL)
        finalize((uint32_t)atoi(more));
    else if (strcmp(part, "restless") == 0 && more != NULL)
        restless((uint32_t)atoi(more));
    else if (strcmp(part, "cycles") == 0)
        cycles();
    else
        fail("module reload | twice COPY | finalize SEED | restless SEED | cycles");
    return 0;
}

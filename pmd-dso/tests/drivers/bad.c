/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A driver that does what no driver may. Compiled with one of the macros below it has a bad table; with none it is loaded,
 * and its option `fault` says what it does. Without a fault it makes packets of 64 bytes and swallows what it is given.
 */
#include <pmd.h>

#include <stdlib.h>
#include <string.h>

static const struct pmd_host *host;

struct device {
    const char *fault;
    struct pmd_pool *pool;
    uint64_t kept;
};

static char fault[32];

static int does(const struct device *device, const char *name)
{
    return strcmp(device->fault, name) == 0;
}

/* Some tables leave some functions out. */
#define UNUSED __attribute__((unused))

UNUSED static void *open_device(const struct pmd_request *request, char *error)
{
    struct device *device = calloc(1, sizeof *device);
    if (strcmp(pmd_text(&request->options, "fault"), "mute") == 0) {
        free(device);
        return NULL;
    }
    if (strcmp(pmd_text(&request->options, "fault"), "no-zero") == 0) {
        free(device);
        memset(error, 'x', PMD_TEXT_MAX);
        return NULL;
    }
    strncpy(fault, pmd_text(&request->options, "fault"), sizeof fault - 1);
    device->fault = fault;
    device->pool = request->queues[0].pool;
    request->queues[0].rx = request->queues[0].tx = device;
    return device;
}

UNUSED static uint16_t rx_burst(void *rx, struct pmd_mbuf **mbufs, uint16_t n)
{
    struct device *device = rx;
    if (strncmp(device->fault, "tx-", 3) == 0)
        return 0;
    if (does(device, "writes-beyond"))
        return host->alloc_bulk(device->pool, mbufs, n + 1) == n + 1 ? n : 0;
    if (does(device, "more-than-asked"))
        return host->alloc_bulk(device->pool, mbufs, n + 1);
    if (host->alloc_bulk(device->pool, mbufs, n) < n)
        return 0;
    for (uint16_t i = 0; i < n; i++)
        pmd_mbuf_set_received(mbufs[i], 64, 0);
    if (does(device, "twice"))
        mbufs[1] = mbufs[0];
    if (does(device, "foreign"))
        mbufs[1] = calloc(1, sizeof **mbufs);
    if (does(device, "null"))
        mbufs[1] = NULL;
    if (does(device, "given-back"))
        host->free_bulk(host, &mbufs[1], 1);
    if (does(device, "changed"))
        mbufs[1]->pool = device;
    if (does(device, "outside"))
        mbufs[1]->len = mbufs[1]->packet_len = 100000;
    if (does(device, "chain"))
        mbufs[1]->segments = 3;
    if (does(device, "chained-twice"))
        pmd_mbuf_chain(mbufs[0], mbufs[1]);
    if (does(device, "circle")) {
        mbufs[1]->next = mbufs[1];
        mbufs[1]->segments = 2;
    }
    if (does(device, "all-ones"))
        return UINT16_MAX;
    return n;
}

static uint16_t tx_burst(void *tx, struct pmd_mbuf **mbufs, uint16_t n, uint16_t *dropped)
{
    struct device *device = tx;
    if (does(device, "tx-keeps")) {
        device->kept += n;
        return n;
    }
    if (does(device, "tx-more"))
        return n + 1;
    if (does(device, "tx-frees-left")) {
        host->free_bulk(host, mbufs, n);
        return 0;
    }
    if (does(device, "tx-leaves-twice")) {
        mbufs[1] = mbufs[0];
        return 0;
    }
    if (does(device, "tx-leaves-null")) {
        mbufs[n - 1] = NULL;
        return n - 1;
    }
    if (does(device, "tx-leaves-other")) {
        host->alloc_bulk(device->pool, &mbufs[n - 1], 1);
        return n - 1;
    }
    if (does(device, "tx-moves")) {
        /* The last one is sent, the others are left, in order: allowed. */
        host->free_bulk(host, &mbufs[n - 1], 1);
        memmove(mbufs + 1, mbufs, (n - 1u) * sizeof *mbufs);
        return 1;
    }
    if (does(device, "tx-drops-more"))
        *dropped = UINT16_MAX;
    host->free_bulk(host, mbufs, n);
    if (does(device, "tx-frees-twice"))
        host->free_bulk(host, mbufs, 1);
    return n;
}

static void rx_renumber(void *rx, uint16_t lport)
{
    (void)rx, (void)lport;
}

static int link_state(void *device, uint32_t queue, char *why)
{
    (void)queue;
    if (!does(device, "tx-no-link"))
        return 1;
    memcpy(why, "no carrier\n", 11);
    return 0;
}

static void info(void *device, uint32_t queue, struct pmd_info *info)
{
    (void)device, (void)queue;
    info->max_packet = 1518;
}

static void stats(void *device, uint32_t queue, struct pmd_stats *stats)
{
    (void)device, (void)queue, (void)stats;
}

static uint32_t xstats(void *device, uint32_t queue, struct pmd_xstat *xstats, uint32_t n)
{
    (void)device, (void)queue;
    for (uint32_t i = 0; i < n; i++)
        xstats[i].name = i % 3 == 0 ? NULL : i % 3 == 1 ? "\xff\xfe" : "good";
    return UINT32_MAX;
}

UNUSED static const char *const words[] = { "none", NULL };

static const struct pmd_option options[] = {
#if defined OPTION_KIND
    { .name = "a", .kind = 17, .help = "" },
#elif defined OPTION_RANGE
    { .name = "a", .kind = PMD_OPTION_INT, .min = 2, .max = 1, .help = "" },
#elif defined OPTION_DEFAULT
    { .name = "a", .kind = PMD_OPTION_INT, .min = 1, .max = 9, .default_text = "10", .help = "" },
#elif defined OPTION_NO_HELP
    { .name = "a", .kind = PMD_OPTION_BOOL },
#elif defined OPTION_NO_NAME
    { .kind = PMD_OPTION_BOOL, .help = "" },
#elif defined OPTION_SPACE
    { .name = "a b", .kind = PMD_OPTION_BOOL, .help = "" },
#elif defined OPTION_NO_WORDS
    { .name = "a", .kind = PMD_OPTION_CHOICE, .help = "" },
#elif defined OPTION_EMPTY_WORDS
    { .name = "a", .kind = PMD_OPTION_CHOICE, .words = words + 1, .help = "" },
#elif defined OPTION_CHOICE
    { .name = "a", .kind = PMD_OPTION_CHOICE, .words = words, .default_text = "some", .help = "" },
#elif defined OPTION_TWICE
    { .name = "a", .kind = PMD_OPTION_BOOL, .help = "" },
    { .name = "a", .kind = PMD_OPTION_BOOL, .help = "" },
#else
    { .name = "fault", .kind = PMD_OPTION_TEXT, .max = sizeof fault - 1, .default_text = "none", .help = "what it does" },
    { .name = "word", .kind = PMD_OPTION_CHOICE, .words = words, .help = "a choice without a default" },
#endif
};

static const struct pmd_driver driver = {
#if defined NO_NAME
    .name = NULL,
#elif defined LONG_NAME
    .name = "net_0123456789012345678901234567890123456789012345678901234567890123456789",
#elif defined NAME_NOT_UTF8
    .name = "net_\xff\xfe",
#elif defined NAME_TAKEN
    .name = "net_null",
#else
    .name = "net_bad",
#endif
#if defined SUMMARY_CONTROL
    .summary = "clears your screen: \033[2J",
#else
    .summary = "does what no driver may",
#endif
#if defined NULL_OPTIONS
    .options = NULL,
#else
    .options = options,
#endif
#if defined MANY_OPTIONS
    .option_count = 1000000,
#else
    .option_count = sizeof options / sizeof *options,
#endif
#if defined FLAGS
    .flags = 6,
#else
    .flags = PMD_NEEDS_POOL,
#endif
#if !defined NO_OPEN
    .open = open_device,
#endif
    .close = free,
#if !defined NO_RX
    .rx_burst = rx_burst,
#endif
    .tx_burst = tx_burst,
    .rx_renumber = rx_renumber,
    .link = link_state,
    .info = info,
    .stats = stats,
    .xstats = xstats,
};

static const struct pmd_driver *init(const struct pmd_host *program)
{
    host = program;
#if defined NO_DRIVER
    (void)driver;
    return NULL;
#else
    return &driver;
#endif
}

#if defined OLD_VERSION
#undef PMD_ABI_VERSION
#define PMD_ABI_VERSION 4711u
#elif defined OTHER_SIZE
struct other_stats {
    struct pmd_stats stats;
    uint64_t more;
};
#define pmd_stats other_stats
#endif

#if defined NO_INIT
const void *not_the_init = init;
PMD_EXPORT(NULL);
#elif defined NO_SYMBOL
const void *not_the_symbol = init;
#else
PMD_EXPORT(init);
#endif

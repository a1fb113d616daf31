/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * A poll mode driver in a shared object: what it exports, and what it may call.
 *
 *   cc -std=c11 -O2 -fPIC -shared -I pmd-plugin/include -o libpmd_loop.so loop.c
 *   lport run -d ./libpmd_loop.so FILE
 *
 * Life of a driver:
 *  1. The program loads the shared object and compares the version and the sizes that PMD_EXPORT wrote into it with its
 *     own. Only then does it call code of it: `init`, once, which gives the table of the driver. It is never unloaded.
 *  2. `open` opens a device with all its queues. It may be called for any number of devices.
 *  3. Each queue belongs to one thread at a time, which calls its `rx_...` or `tx_...` functions; rx and tx of one queue
 *     may belong to two. It may move from one thread to another, never during a call.
 *  4. Functions about a device (link, info, stats, set_admin) may be called by any thread at any time, also at once.
 *  5. `rx_close` and `tx_close` end the queues, `close` ends the device when nothing uses it any more. When it returns,
 *     every mbuf has been given back and no thread of the driver touches one.
 *
 * Who owns an mbuf:
 *  - One taken with `alloc_bulk` is the driver's until it is given to `free_bulk` or returned by `rx_burst`.
 *  - `rx_burst` gives the first n of its array to the program, if it returns n. They must be mbufs that the driver owns.
 *  - `tx_burst` takes the first n of its array from the program, if it returns n. The driver may send them on, keep them,
 *    and free them at once or later, on any thread. The others stay the program's and must not be touched. A driver that
 *    takes others than the first ones moves those it leaves to the end of the array, in order.
 *  - A packet is owned whole: with all segments behind `next`.
 *
 * Without `--check-drivers` the program trusts a driver in this: as any code in its process, a driver can crash it.
 * With it every mbuf that crosses is tracked; see docs/shared-objects.md.
 *
 * Text is UTF-8 and ends with a zero byte. Structures are filled with zeros before a driver is asked to fill them.
 */
#ifndef PMD_H
#define PMD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define PMD_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define PMD_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* Changes whenever anything below changes its meaning or its place. */
#define PMD_ABI_VERSION 1u

/* Most mbufs in one call of rx_burst, tx_burst, alloc_bulk. */
#define PMD_BURST_MAX 256

/* Room for an error or a reason, with its zero byte. */
#define PMD_TEXT_MAX 512

/* Most xstats of an lport. */
#define PMD_XSTATS_MAX 256

/* Bytes before the data of a fresh mbuf. */
#define PMD_HEADROOM 128

/*
 * An mbuf: one segment of a packet. `buffer`, `pool`, `room`, `index` and `owner` are the program's; a driver reads them at
 * most. The others are the driver's while it owns the mbuf: offset + len <= room, always.
 */
struct pmd_mbuf {
    uint8_t *buffer;       /* first byte of the buffer */
    void *pool;            /* the program's */
    struct pmd_mbuf *next; /* the next segment of the packet, or NULL */
    uint32_t room;         /* bytes of the buffer, headroom included */
    uint32_t offset;       /* where data begins, from `buffer` */
    uint32_t len;          /* bytes of data in this segment */
    uint32_t packet_len;   /* bytes of data in all segments; valid in the first one */
    uint16_t segments;     /* number of segments; valid in the first one, 1 in a free mbuf */
    uint16_t port;         /* number of the lport it was received on; valid in the first one */
    uint32_t index;        /* the program's */
    const void *owner;     /* the program's */
    uint64_t reserved;     /* the program's */
};

/* A pool of mbufs. Only `alloc_bulk` takes from it. */
struct pmd_pool {
    const char *name;
    uint64_t size;       /* number of mbufs */
    uint64_t memory_len; /* bytes behind `memory` */
    uint8_t *memory;     /* the memory that all its buffers lie in */
    uint32_t data_room;  /* bytes of data one mbuf holds behind its headroom */
    int32_t file;        /* the memfd behind the memory, or -1: see `shares_pools` */
    uint64_t page;       /* bytes of a page of the memory */
};

/* What the program does for drivers. Any thread may call these. */
struct pmd_host {
    /* Takes up to n (at most PMD_BURST_MAX) empty mbufs from a pool and says how many. */
    uint16_t (*alloc_bulk)(struct pmd_pool *pool, struct pmd_mbuf **mbufs, uint16_t n);
    /* Gives n packets back, each with all its segments. */
    void (*free_bulk)(const struct pmd_host *host, struct pmd_mbuf *const *mbufs, uint32_t n);
    /* Mbufs that could be taken from a pool, about. */
    uint64_t (*available)(const struct pmd_pool *pool);
    /* A pool lives as long as the device that it was given to. Who needs it for longer takes a reference. */
    void (*pool_ref)(struct pmd_pool *pool);
    void (*pool_unref)(struct pmd_pool *pool);
    /* Writes a line to the program's log. `level`: PMD_LOG_... */
    void (*log)(const struct pmd_host *host, uint32_t level, const char *text);
};

enum { PMD_LOG_ERROR = 1, PMD_LOG_WARN, PMD_LOG_INFO, PMD_LOG_DEBUG };

/* Type of an option's value. */
enum {
    PMD_OPTION_BOOL = 1, /* number: 0 or 1 */
    PMD_OPTION_INT,      /* number: `min` to `max` */
    PMD_OPTION_TEXT,     /* text of at most `max` bytes */
    PMD_OPTION_CHOICE,   /* text: one of `words` */
    PMD_OPTION_MAC       /* text: a unicast Ethernet address such as 02:00:00:00:00:01 */
};

/* One option: a row of the driver's table. */
struct pmd_option {
    const char *name;         /* the key in files */
    uint32_t kind;            /* PMD_OPTION_... */
    uint32_t reserved;        /* 0 */
    uint64_t min, max;        /* limits of an INT; `max`: most bytes of a TEXT */
    const char *const *words; /* of a CHOICE, ended by NULL */
    const char *default_text; /* the value when none is given, as written in a file; NULL or "" for none */
    const char *help;         /* one line for people, with the unit */
};

/* The value of one option of a device. The program has checked it against the table. */
struct pmd_value {
    const char *name;
    uint32_t kind;   /* PMD_OPTION_... */
    uint32_t given;  /* 1 if the user gave it, 0 for the default */
    uint64_t number; /* of a BOOL or an INT */
    const char *text; /* of the others; never NULL */
};

/* All values of a device: options without a value (no default, not given) are left out. */
struct pmd_values {
    const struct pmd_value *values;
    uint32_t count;
    uint32_t reserved;
};

/* A queue of a device to be opened. */
struct pmd_queue {
    const char *name;      /* of its lport */
    struct pmd_pool *pool; /* where received packets go, or NULL if the user named none */
    uint32_t rx_desc;      /* receive descriptors wanted */
    uint32_t tx_desc;      /* transmit descriptors wanted */
    uint16_t lport;        /* number of its lport: what received mbufs have as `port` */
    uint16_t qid;          /* which queue of the device it is */
    uint32_t reserved;
    void *rx;              /* out: what the rx_... functions get */
    void *tx;              /* out: what the tx_... functions get */
};

/* A device to be opened. Valid until `open` returns. */
struct pmd_request {
    const char *name;
    struct pmd_values options;
    struct pmd_queue *queues;
    uint32_t queue_count; /* at least 1 */
    uint32_t reserved;
};

/* What an lport is. */
struct pmd_info {
    uint32_t max_packet; /* largest packet in bytes, without FCS */
    uint32_t speed_mbps;
    uint8_t mac[6];
    uint8_t has_mac; /* 1 if `mac` is its Ethernet address */
    uint8_t reserved;
};

/* Counters of an lport since it was opened, in DPDK's words. */
struct pmd_stats {
    uint64_t ipackets, opackets, ibytes, obytes, imissed, ierrors, oerrors, rx_nombuf;
};

/* One more counter, by name. The name stays valid. */
struct pmd_xstat {
    const char *name;
    uint64_t value;
};

/* Where `check` and `check_machine` tell what they found. */
struct pmd_problems {
    /* `option` is what it is about; `message` names the value, the limit and the way out. `fatal`: see check_machine. */
    void (*report)(const struct pmd_problems *problems, const char *option, const char *message, uint32_t fatal);
};

/* What of the driver: flags. */
enum { PMD_NEEDS_POOL = 1 /* each queue must have a pool to receive into */ };

/*
 * A driver. All functions get what `open` gave: `device`, and `rx` and `tx` of its queues; `queue` is a position in
 * pmd_request.queues. Functions that may be NULL say so.
 */
struct pmd_driver {
    const char *name;    /* as in files: net_loop */
    const char *summary; /* one line for people */
    const struct pmd_option *options;
    uint32_t option_count;
    uint32_t flags;

    /* Opens a device. NULL: it cannot be had, and `error` (PMD_TEXT_MAX bytes) says why and what to do. */
    void *(*open)(const struct pmd_request *request, char *error);
    /* Closes it. */
    void (*close)(void *device);

    /* Writes up to n received packets to mbufs and says how many. Never blocks. */
    uint16_t (*rx_burst)(void *rx, struct pmd_mbuf **mbufs, uint16_t n);
    /* Sends packets from the front of mbufs and says how many it took. Never blocks. A packet that can never be sent (too
     * long, for example) is taken, freed, counted in `oerrors` and in `dropped`, which is 0 before; it does not hold up the
     * others. */
    uint16_t (*tx_burst)(void *tx, struct pmd_mbuf **mbufs, uint16_t n, uint16_t *dropped);

    /* The lport has another number from now on, which received mbufs have as `port`. */
    void (*rx_renumber)(void *rx, uint16_t lport);

    /* 1 when packets can flow; otherwise 0, and `why` (PMD_TEXT_MAX bytes) may say why not. */
    int (*link)(void *device, uint32_t queue, char *why);
    void (*info)(void *device, uint32_t queue, struct pmd_info *info);
    void (*stats)(void *device, uint32_t queue, struct pmd_stats *stats);

    /* From here on each may be NULL. */

    /* Writes up to n further counters and says how many. */
    uint32_t (*xstats)(void *device, uint32_t queue, struct pmd_xstat *xstats, uint32_t n);
    /* Administratively up or down. While it is down the program calls neither rx_burst nor tx_burst. */
    void (*set_admin)(void *device, int up);
    /* The queue is not used any more. */
    void (*rx_close)(void *rx);
    void (*tx_close)(void *tx);
    /* Pushes out what the queue holds back, and frees what the device is done with. */
    void (*tx_flush)(void *tx);
    /* Asks for `rx_wake_fd` to become readable when a packet comes. 1: sleeping is safe. 0: packets may be waiting. */
    int (*rx_arm)(void *rx);
    void (*rx_disarm)(void *rx);
    /* The file descriptor that becomes readable, or -1. It stays open until the next rx_arm or rx_close. */
    int (*rx_wake_fd)(void *rx);
    /* Reports what the table cannot express: options that exclude or need one another, the number of queues. */
    void (*check)(const struct pmd_values *options, uint32_t queues, const struct pmd_problems *problems);
    /* Reports what on this machine stands in the way of the device `name`, without changing anything. Fatal: it would not
     * open. */
    void (*check_machine)(const char *name, const struct pmd_values *options, const struct pmd_problems *problems);
    /* 1 if the pools of a device with these options should be files: pmd_pool.file. */
    int (*shares_pools)(const struct pmd_values *options);
    /* What a device with these options takes for itself alone, such as "port 3 of card 0": no two devices of a deployment
     * may have the same. 0: nothing; 1: what `text` (PMD_TEXT_MAX bytes) says. */
    int (*claim)(const struct pmd_values *options, char *text);
    /* How many queues the device `name` has; -1 when it has as many as it is told; -2 when it cannot be asked, as `text`
     * (PMD_TEXT_MAX bytes) says why: it is not on this machine, for example. */
    int32_t (*queue_count)(const char *name, const struct pmd_values *options, char *text);
};

/* Sizes of all structures, so that a driver compiled with another header is refused. */
struct pmd_sizes {
    uint32_t plugin, driver, host, mbuf, pool, option, value, values, queue, request, info, stats, xstat, problems;
};

/* The one exported symbol: made by PMD_EXPORT. */
struct pmd_plugin {
    uint32_t abi_version; /* stays first in every version */
    struct pmd_sizes sizes;
    uint32_t reserved;
    /* Gives the table of the driver; it and all it points to stay valid. NULL: the driver cannot work. */
    const struct pmd_driver *(*init)(const struct pmd_host *host);
};

#define PMD_EXPORT(init_function)                                                                                      \
    __attribute__((visibility("default"))) extern const struct pmd_plugin pmd_plugin;                                  \
    const struct pmd_plugin pmd_plugin = {                                                                             \
        PMD_ABI_VERSION,                                                                                               \
        { (uint32_t)sizeof(struct pmd_plugin), (uint32_t)sizeof(struct pmd_driver), (uint32_t)sizeof(struct pmd_host), \
          (uint32_t)sizeof(struct pmd_mbuf), (uint32_t)sizeof(struct pmd_pool), (uint32_t)sizeof(struct pmd_option),   \
          (uint32_t)sizeof(struct pmd_value), (uint32_t)sizeof(struct pmd_values), (uint32_t)sizeof(struct pmd_queue), \
          (uint32_t)sizeof(struct pmd_request), (uint32_t)sizeof(struct pmd_info), (uint32_t)sizeof(struct pmd_stats), \
          (uint32_t)sizeof(struct pmd_xstat), (uint32_t)sizeof(struct pmd_problems) },                                 \
        0,                                                                                                             \
        (init_function)                                                                                                \
    }

PMD_STATIC_ASSERT(sizeof(void *) == 8, "this header is for 64-bit machines");
PMD_STATIC_ASSERT(sizeof(struct pmd_mbuf) == 64, "an mbuf's header is one cache line");
PMD_STATIC_ASSERT(offsetof(struct pmd_mbuf, owner) == 48, "and its fields lie where the program looks for them");
PMD_STATIC_ASSERT(offsetof(struct pmd_plugin, abi_version) == 0, "every version finds the version");

/* First byte of the data of a segment. */
static inline uint8_t *pmd_mbuf_data(const struct pmd_mbuf *mbuf)
{
    return mbuf->buffer + mbuf->offset;
}

/* Bytes free before the data of a segment, and behind it. */
static inline uint32_t pmd_mbuf_headroom(const struct pmd_mbuf *mbuf)
{
    return mbuf->offset;
}

static inline uint32_t pmd_mbuf_tailroom(const struct pmd_mbuf *mbuf)
{
    return mbuf->room - mbuf->offset - mbuf->len;
}

/* Space for a received packet, in an mbuf that is fresh from alloc_bulk. */
static inline uint32_t pmd_mbuf_space(const struct pmd_mbuf *mbuf)
{
    return mbuf->room - mbuf->offset;
}

/* Says that a packet of len bytes, received on lport, has been written to the data. 0: it does not fit. */
static inline int pmd_mbuf_set_received(struct pmd_mbuf *mbuf, uint32_t len, uint16_t lport)
{
    if (len > pmd_mbuf_space(mbuf))
        return 0;
    mbuf->len = mbuf->packet_len = len;
    mbuf->port = lport;
    return 1;
}

/* The last segment of a packet. */
static inline struct pmd_mbuf *pmd_mbuf_last(struct pmd_mbuf *packet)
{
    while (packet->next)
        packet = packet->next;
    return packet;
}

/* Adds len bytes before the data and returns them, or NULL when the headroom is smaller. */
static inline uint8_t *pmd_mbuf_prepend(struct pmd_mbuf *packet, uint32_t len)
{
    if (len > packet->offset)
        return NULL;
    packet->offset -= len;
    packet->len += len;
    packet->packet_len += len;
    return pmd_mbuf_data(packet);
}

/* Adds len bytes behind the data of the last segment and returns them, or NULL when its tailroom is smaller. */
static inline uint8_t *pmd_mbuf_append(struct pmd_mbuf *packet, uint32_t len)
{
    struct pmd_mbuf *last = pmd_mbuf_last(packet);
    uint8_t *end = pmd_mbuf_data(last) + last->len;
    if (len > pmd_mbuf_tailroom(last))
        return NULL;
    last->len += len;
    packet->packet_len += len;
    return end;
}

/* Links tail, a packet that the driver owns, behind packet. 0: the packet would have too many segments or bytes. */
static inline int pmd_mbuf_chain(struct pmd_mbuf *packet, struct pmd_mbuf *tail)
{
    if ((uint32_t)packet->segments + tail->segments > UINT16_MAX || packet->packet_len > UINT32_MAX - tail->packet_len)
        return 0;
    pmd_mbuf_last(packet)->next = tail;
    packet->segments = (uint16_t)(packet->segments + tail->segments);
    packet->packet_len += tail->packet_len;
    return 1;
}

/* The value of an option, or NULL when it has none. `name` is one of the driver's own table. */
static inline const struct pmd_value *pmd_value(const struct pmd_values *options, const char *name)
{
    uint32_t i;
    for (i = 0; i < options->count; i++) {
        const char *a = options->values[i].name, *b = name;
        while (*a && *a == *b)
            a++, b++;
        if (*a == *b)
            return &options->values[i];
    }
    return NULL;
}

/* The value of a BOOL or INT option, or `otherwise` when it has none. */
static inline uint64_t pmd_number(const struct pmd_values *options, const char *name, uint64_t otherwise)
{
    const struct pmd_value *value = pmd_value(options, name);
    return value ? value->number : otherwise;
}

/* The value of a TEXT, CHOICE or MAC option, or "" when it has none. */
static inline const char *pmd_text(const struct pmd_values *options, const char *name)
{
    const struct pmd_value *value = pmd_value(options, name);
    return value ? value->text : "";
}

#ifdef __cplusplus
}
#endif

#endif

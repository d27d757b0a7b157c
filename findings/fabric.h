/* One reliable datagram endpoint with a registered region, through libfabric's plain API, for the findings. */
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct endpoint {
  struct fi_info* info;
  struct fid_fabric* fabric;
  struct fid_domain* domain;
  struct fid_ep* ep;
  struct fid_cq* cq;
  struct fid_av* av;
  struct fid_mr* mr;
  char memory[4096];
};

/* What a reader needs of an owner. */
struct remote {
  char name[256];
  size_t name_bytes;
  uint64_t key, address;
};

static inline void check(int status, const char* what) {
  if (status >= 0) return;
  printf("%s: %s\n", what, fi_strerror(-status));
  exit(2);
}

static inline double now_s(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline struct fi_info* find_provider(const char* provider, enum fi_progress progress) {
  struct fi_info *hints = fi_allocinfo(), *info = NULL;
  hints->caps = FI_RMA | FI_READ | FI_REMOTE_READ;
  hints->ep_attr->type = FI_EP_RDM;
  hints->fabric_attr->prov_name = strdup(provider);
  hints->domain_attr->data_progress = progress;
  hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
  check(fi_getinfo(FI_VERSION(1, 17), strcmp(provider, "shm") ? "127.0.0.1" : NULL, NULL,
                   strcmp(provider, "shm") ? FI_SOURCE : 0, hints, &info), "fi_getinfo");
  return info;
}

static inline void open_endpoint(struct endpoint* e, struct fi_info* info) {
  struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_CONTEXT, .wait_obj = FI_WAIT_FD, .size = 64};
  struct fi_av_attr av = {.type = FI_AV_TABLE};
  e->info = info;
  memset(e->memory, 'm', sizeof e->memory);
  check(fi_fabric(info->fabric_attr, &e->fabric, NULL), "fi_fabric");
  check(fi_domain(e->fabric, info, &e->domain, NULL), "fi_domain");
  check(fi_endpoint(e->domain, info, &e->ep, NULL), "fi_endpoint");
  check(fi_cq_open(e->domain, &cq, &e->cq, NULL), "fi_cq_open with FI_WAIT_FD");
  check(fi_av_open(e->domain, &av, &e->av, NULL), "fi_av_open");
  check(fi_ep_bind(e->ep, &e->cq->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
  check(fi_ep_bind(e->ep, &e->av->fid, 0), "fi_ep_bind");
  check(fi_enable(e->ep), "fi_enable");
  check(fi_mr_reg(e->domain, e->memory, sizeof e->memory, FI_READ | FI_REMOTE_READ, 0, 7, 0, &e->mr, NULL),
        "fi_mr_reg");
}

static inline struct remote describe(struct endpoint* e) {
  struct remote r = {.name_bytes = sizeof r.name, .key = fi_mr_key(e->mr)};
  check(fi_getname(&e->ep->fid, r.name, &r.name_bytes), "fi_getname");
  if (e->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) r.address = (uint64_t)(uintptr_t)e->memory;
  return r;
}

/* 1: an operation completed; 0: nothing there. */
static inline int read_queue(struct endpoint* e) {
  struct fi_cq_entry entry;
  const ssize_t got = fi_cq_read(e->cq, &entry, 1);
  if (got == -FI_EAGAIN) return 0;
  check((int)got, "fi_cq_read");
  return 1;
}

/* 1: 64 bytes were read within `seconds`. */
static inline int read_remote(struct endpoint* e, const struct remote* r, double seconds) {
  static char into[64];
  fi_addr_t peer = 0;
  ssize_t posted = -FI_EAGAIN;
  const double until = now_s() + seconds;
  if (fi_av_insert(e->av, r->name, 1, &peer, 0, NULL) != 1) check(-FI_EINVAL, "fi_av_insert");
  while (now_s() < until) {
    if (posted == -FI_EAGAIN)
      posted = fi_read(e->ep, into, sizeof into, NULL, peer, r->address, r->key, NULL);
    if (posted != -FI_EAGAIN) check((int)posted, "fi_read");
    if (read_queue(e)) return into[0] == 'm';
    usleep(100);
  }
  return 0;
}

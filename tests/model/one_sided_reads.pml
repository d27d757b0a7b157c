/* MemPool's one-sided reads: docs/one-sided-reads.md, "The model".
 *
 * The owner publishes blob A, retires it, and puts blob B where A was. One reader, READER, has A's
 * reference and tries to read A again and again:
 *   one_read   rule (i), with rule (ii) for reads that took too long
 *   reread     rule (ii); also the copy out of shared memory
 *   holder     views in place over shared memory, under hazard slots
 * Whatever a reader accepts must be A's bytes. Readers store nothing that other readers look at, so
 * one reader stands for all of them.
 *
 * Every process may pause anywhere for any time. Time has no end: an age stops at the value from which
 * on it makes no difference. tests/model/variants lists the macros that take an ingredient out, and
 * WITNESS, which claims that a place is never reached.
 */

#ifndef W
#define W 2  /* ticks of the reader's clock */
#endif
#ifndef Q
#define Q 3  /* ticks of the owner's clock */
#endif

/* Words of memory. */
#define ID 0  /* magic, object and length */
#define G0 1  /* generation, as two words: a read of it may be torn */
#define G1 2
#define P0 3  /* payload */
#define P1 4
#define WORDS 5

/* What a word holds. */
#define DEAD 0  /* of a generation; elsewhere: what was there before A */
#define A 1
#define B 2
#define NONE 3  /* nothing stored or fetched yet */

/* Places that must be reachable, or the model would be sound because nothing happens in it. */
#define NOWHERE 0
#define ACCEPTED_IN_TIME 1
#define ACCEPTED_BY_SECOND_LOOK 2
#define ACCEPTED_AFTER_MARK 3
#define REJECTED_OTHER_BYTES 4
#define REUSE_DELAYED_BY_SLOT 5
#define VIEW_OUTLIVES_QUARANTINE 6
#define REUSED_AFTER_CLEAR 7
#define REUSED_AFTER_HANG_UP 8
#define VIEW_MOVED 9
#ifndef WITNESS
#define WITNESS NOWHERE
#endif
#define REACHED(place) assert(WITNESS != place)

byte memory[WORDS];         /* as everybody sees it */
byte stored[WORDS] = NONE;  /* the owner's stores that only the owner sees yet */

/* A session's hazard slots in shared memory: does the slot name A's place? */
#define SLOTS 2
bool slot[SLOTS];
byte slot_stored[SLOTS] = NONE;  /* the reader's stores that only the reader sees yet */
bool session_lives = true;
bool a_session_died;

byte read_age = W;   /* since t0, by the reader's clock; W: W or more */
byte death_age = Q;  /* since t_dead, by the owner's clock; Q: Q or more */
bool reader_ticks_next;

bool wrong_bytes_shown;

/* Stores become visible late, in any order; a fence waits for all of one's own. */
#define ALL_SEE(word) (stored[word] == NONE)
#define FENCE (ALL_SEE(ID) && ALL_SEE(G0) && ALL_SEE(G1) && ALL_SEE(P0) && ALL_SEE(P1))
#define SLOT_FENCE (slot_stored[0] == NONE && slot_stored[1] == NONE)

inline reveal(shared, own) {
  d_step { own != NONE -> shared = own; own = NONE }
}

active proctype store_buffers() {
  do
  :: reveal(memory[ID], stored[ID])
  :: reveal(memory[G0], stored[G0])
  :: reveal(memory[G1], stored[G1])
  :: reveal(memory[P0], stored[P0])
  :: reveal(memory[P1], stored[P1])
  :: reveal(slot[0], slot_stored[0])
  :: reveal(slot[1], slot_stored[1])
  od
}

/* The two clocks have the same speed and no common time: they tick in turn. */
active proctype clocks() {
  do
  :: d_step {
       reader_ticks_next ->
       reader_ticks_next = false;
       read_age = (read_age < W -> read_age + 1 : W)
     }
  :: d_step {
       !reader_ticks_next ->
       reader_ticks_next = true;
       death_age = (death_age < Q -> death_age + 1 : Q)
     }
  od
}

/* ---- the owner ---- */

inline publish_a() {
  stored[P0] = A;
  stored[P1] = A;
  stored[G0] = A;
  stored[G1] = A;
  stored[ID] = A;
#ifndef NO_PUBLISH_FENCE
  FENCE;
#endif
}

inline retire_a() {
  d_step { stored[G0] = DEAD; stored[G1] = DEAD };
#ifdef T_DEAD_EARLY
  death_age = 0;
#endif
#ifndef NO_FENCE
  FENCE;
#endif
#ifndef T_DEAD_EARLY
  death_age = 0;
#endif
#ifndef NO_QUARANTINE
  death_age == Q;
#endif
}

/* The scan looks at one slot after the other and does not look back: the weakest that is sound. */
inline wait_for_slot(i) {
  do
  :: session_lives && slot[i] -> REACHED(REUSE_DELAYED_BY_SLOT); kept = true
  :: else -> break
  od
}

inline wait_for_slots() {
#ifndef NO_SLOT_SCAN
  wait_for_slot(0);
  wait_for_slot(1);
#endif
  if
  :: kept && !a_session_died -> REACHED(REUSED_AFTER_CLEAR)
  :: kept && !session_lives && (slot[0] || slot[1]) -> REACHED(REUSED_AFTER_HANG_UP)
  :: else
  fi
}

/* Nobody knows B, so the order of its stores is free. Its generation is A's but for one word. */
inline publish_b() {
  stored[P0] = B;
  stored[P1] = B;
  if
  :: stored[ID] = B; stored[G0] = A; stored[G1] = B  /* B's header lies on A's */
  :: skip  /* it lies elsewhere, and A's is left as it is */
  fi
}

active proctype owner() {
  bool kept;
  publish_a();
  run READER();  /* the reference is given out */
  retire_a();
  wait_for_slots();
  publish_b()
}

/* ---- readers ---- */

#define HEADER 1
#define PAYLOAD 2
#define ALL 3

/* Fetches words of a read, in any order, until all of them have arrived. */
inline fetch(words) {
  do
  :: atomic { (words & HEADER) && seen[ID] == NONE -> seen[ID] = memory[ID] }
  :: atomic { (words & HEADER) && seen[G0] == NONE -> seen[G0] = memory[G0] }
  :: atomic { (words & HEADER) && seen[G1] == NONE -> seen[G1] = memory[G1] }
  :: atomic { (words & PAYLOAD) && seen[P0] == NONE -> seen[P0] = memory[P0] }
  :: atomic { (words & PAYLOAD) && seen[P1] == NONE -> seen[P1] = memory[P1] }
  :: else -> break
  od
}

inline forget(words) {
  d_step {
    if
    :: words & HEADER -> seen[ID] = NONE; seen[G0] = NONE; seen[G1] = NONE
    :: else
    fi;
    if
    :: words & PAYLOAD -> seen[P0] = NONE; seen[P1] = NONE
    :: else
    fi
  }
}

#ifdef NO_GENERATION_CHECK
#define HEADER_SHOWS_A (seen[ID] == A)
#else
#define HEADER_SHOWS_A (seen[ID] == A && seen[G0] == A && seen[G1] == A)
#endif

#ifdef NO_ELAPSED_TEST
#define IN_TIME true
#else
#define IN_TIME (read_age < W)
#endif

inline must_be_a(word_0, word_1) {
  d_step {
    wrong_bytes_shown = (word_0 != A || word_1 != A);
    assert(!wrong_bytes_shown)
  }
}

inline accept() {
  must_be_a(seen[P0], seen[P1]);
  if
  :: memory[G1] != A -> REACHED(ACCEPTED_AFTER_MARK)
  :: else
  fi
}

inline reject() {
  if
  :: seen[P0] == B -> REACHED(REJECTED_OTHER_BYTES)
  :: else
  fi
}

/* The end of rule (ii): the header, once more. */
inline accept_by_second_look() {
  forget(HEADER);
  fetch(HEADER);
  if
  :: HEADER_SHOWS_A -> REACHED(ACCEPTED_BY_SECOND_LOOK); accept()
  :: else -> reject()
  fi
}

proctype one_read() {
  byte seen[WORDS] = NONE;
  do
  :: read_age = 0;  /* t0, then the read is posted */
     fetch(ALL);
     if
     :: HEADER_SHOWS_A && IN_TIME -> REACHED(ACCEPTED_IN_TIME); accept()  /* t1 */
     :: HEADER_SHOWS_A && !IN_TIME -> accept_by_second_look()
     :: else -> reject()
     fi;
     forget(ALL)
  od
}

proctype reread() {
  byte seen[WORDS] = NONE;
  do
  ::
#ifdef REREAD_EARLY
     fetch(ALL);
     if
     :: HEADER_SHOWS_A -> accept()
     :: else -> reject()
     fi;
#else
     fetch(PAYLOAD);
     accept_by_second_look();
#endif
     forget(ALL)
  od
}

/* Writes a slot; from then on, if the header still shows A, A's bytes stay. */
inline take(i) {
#ifdef NO_SLOT_RECHECK
  forget(HEADER);
  fetch(HEADER);
#endif
  slot_stored[i] = true;
#ifndef NO_SLOT_FENCE
  SLOT_FENCE;
#endif
#ifndef NO_SLOT_RECHECK
  forget(HEADER);
  fetch(HEADER);
#endif
}

inline clear(i) {
  slot_stored[i] = false
}

inline look() {
  must_be_a(memory[P0], memory[P1]);
  if
  :: death_age == Q && memory[G1] == DEAD -> REACHED(VIEW_OUTLIVES_QUARANTINE)
  :: else
  fi
}

proctype holder() {
  byte seen[WORDS] = NONE;
  byte mine;
next:
  take(mine);
  if
  :: HEADER_SHOWS_A
  :: else -> clear(mine); goto next
  fi;
  do
  :: look()
  :: /* the view moves to another slot: that one is taken like the first */
#ifdef SLOT_HANDED_OVER
     slot_stored[1 - mine] = true;
     SLOT_FENCE;
#else
     take(1 - mine);
#endif
     if
     :: HEADER_SHOWS_A -> clear(mine); mine = 1 - mine; REACHED(VIEW_MOVED)
     :: else -> clear(1 - mine)
     fi
  :: clear(mine);
#ifdef SLOT_CLEARED_EARLY
     look();
#endif
     goto next
  :: /* it dies; the system hangs up for it; later another session begins */
     d_step { session_lives = false; a_session_died = true };
     d_step {
       slot[0] = false;
       slot[1] = false;
       slot_stored[0] = NONE;
       slot_stored[1] = NONE;
       mine = 0;
       session_lives = true
     };
     goto next
  od
}

#ifdef LEASE_ENDS_SESSION
/* The owner gives up a session whose process is only paused. */
active proctype lease() {
  session_lives = false
}
#endif

/* The two cadences of the anchor and their recovery, for the model checker spin (package spin; run.sh, README.md).
 *
 * One machine appends records, signs, extends, anchors and crashes between any two steps, in recovery too; an adversary
 * rolls disk, slots and TPM back and extends registers while it is down. The verdict is recovery_table.def, the text that
 * the unit test compares with the production code. Bytes are always valid here: torn and damaged bytes are the store's.
 *
 * Hash chains: every signed note has a digest of its own, 1, 2, ..., and is signed for one value of the register before
 * it. So a register's value is named by the digest that went in last, 0 is the start, and whatever else happens to it
 * gives FOREIGN, which equals nothing that anybody expects.
 */
#ifndef NOTES
#define NOTES 4      /* signed in one life, at most */
#endif
#ifndef CRASHES
#define CRASHES 3
#endif
#ifndef BOOTS
#define BOOTS 3
#endif
#ifndef ATTACKS
#define ATTACKS 0    /* how many times the adversary acts */
#endif
#define ENTRIES 14
#define FOREIGN 99

/* entries of the log: 1 .. NOTES an intent, RECEIPT + d the receipt of d, RECORD + n a record */
#define RECEIPT 20
#define RECORD  40
#define is_intent(e)  ((e) > 0 && (e) < RECEIPT)
#define is_receipt(e) ((e) > RECEIPT && (e) < RECORD)

#define X_RECEIPT 0
#define X_INTENT 1
#define X_ELSEWHERE 2
#define SLOT_AGREES 0
#define SLOT_MISSING 1
#define SLOT_OLDER 2
#define SLOT_AHEAD 3
#define SLOT_OTHER 4
#define PCR_BASELINE 0
#define PCR_BEFORE 1
#define PCR_AFTER 2
#define PCR_ELSEWHERE 3

#define NONE 0
#define OK 1
#define OK_UNANCHORED_TAIL 2
#define RECOVERED_CRASH 3
#define ROLLED_BACK 4
#define TAMPERED 5
#define FOREIGN_EXTEND 6
#define DAMAGED 7
#define TPM_REPLACED 8
#define TPM_CLEARED 9
#define ANCHOR_REDEFINED 10
#define good(w) ((w) >= OK && (w) <= RECOVERED_CRASH)

/* what a signed note fixes for ever */
byte note_size[NOTES + 1], note_boot[NOTES + 1], note_number[NOTES + 1], note_before[NOTES + 1], note_anchor[NOTES + 1];
byte note_last[NOTES + 1];   /* the entry below its size: stands for the whole prefix, records being unique */
byte note_index[NOTES + 1];  /* anchored: X as it must be before */
byte notes = 0, records = 0;

/* the disk, its slot, the TPM */
byte log[ENTRIES];
byte size = 0;
byte slot_note = 0;          /* signed last; 0: nothing yet */
bool slot_lost = false;
byte pcr_value = 0, index_value = 0, counter = 0, boot = 1;

/* the machine */
byte crashes = 0, attacks = 0;
byte q = 0, p_value = 0;     /* this boot's intents and the PCR they leave, as the running anchor knows them */
byte open_note = 0;
bool want = false;

/* what the adversary did */
bool cut_disk = false, cut_slot = false, cut_tpm = false;
byte copy_counter = 0, copy_index = 0, copy_boot = 0;  /* of the TPM's state */
bool lost_in_boot = false;   /* a checkpoint of the running boot that was extended is gone from the disk */

/* facts, as facts.cc finds them */
byte A, b, m, X, slot, pcr, word, newest_note, anchored_note, receipted_note, i;
bool ek = true, ak = true, regs = true, ours = true, valid = true;
bool fell, same, newest, after, tail, goes_on;
bool extend_pcr, extend_index, increment, make_receipt, late;

inline look() {
  newest_note = 0; anchored_note = 0; receipted_note = 0; tail = false; i = 0;
  do
  :: i < size ->
     if
     :: is_intent(log[i]) -> newest_note = log[i]; if :: note_anchor[log[i]] > 0 -> anchored_note = log[i] :: else fi; tail = false
     :: is_receipt(log[i]) -> receipted_note = log[i] - RECEIPT
     :: else -> tail = true
     fi;
     i++
  :: else -> break
  od;
  A = note_anchor[anchored_note];
  b = note_anchor[receipted_note];
  m = counter;
  newest = (anchored_note != 0 && anchored_note == newest_note);
  after = (newest_note != 0 && !newest);
  /* the running boot; a TPM whose state went back may count the same boot twice */
  same = (newest_note != 0 && note_boot[newest_note] == boot);
  fell = (newest_note != 0 && note_boot[newest_note] > boot) || (slot_note != 0 && note_boot[slot_note] > boot);
  if
  :: !same && pcr_value == 0 -> pcr = PCR_BASELINE
  :: !same && pcr_value != 0 -> pcr = PCR_ELSEWHERE
  :: same && pcr_value == newest_note -> pcr = PCR_AFTER
  :: same && pcr_value != newest_note && pcr_value == note_before[newest_note] -> pcr = PCR_BEFORE
  :: same && pcr_value != newest_note && pcr_value != note_before[newest_note] -> pcr = PCR_ELSEWHERE
  fi;
  if
  :: index_value == receipted_note -> X = X_RECEIPT
  :: index_value != receipted_note && A > b && index_value == anchored_note && note_index[anchored_note] == receipted_note -> X = X_INTENT
  :: else -> X = X_ELSEWHERE
  fi;
  if
  :: slot_lost || (slot_note == 0) -> slot = SLOT_MISSING
  :: !slot_lost && slot_note != 0 && note_size[slot_note] > size -> slot = SLOT_AHEAD
  :: !slot_lost && slot_note != 0 && note_size[slot_note] <= size && log[note_size[slot_note] - 1] != note_last[slot_note] -> slot = SLOT_OTHER
  :: !slot_lost && slot_note != 0 && note_size[slot_note] <= size && log[note_size[slot_note] - 1] == note_last[slot_note] && newest_note != 0 && note_size[slot_note] < note_size[newest_note] -> slot = SLOT_OLDER
  :: else -> slot = SLOT_AGREES
  fi
}

#define ROW(guard, name, whole, broken, on) if :: word == NONE && (guard) -> word = (valid -> whole : broken); goes_on = on :: else fi;
#define ACTION(name, guard) name = (guard);
inline decide() {
  word = NONE; goes_on = false;
#include "recovery_table.def"
}

/* ---- what must hold of every verdict ---- */
inline judge() {
  /* crashes alone are never an alarm */
  assert(attacks > 0 || good(word));
  /* a disk older than the TPM, across an anchor that was counted, is ROLLED_BACK whatever else was rolled back with it,
     and nothing that was counted is missing under a good word */
  if
  :: !cut_tpm ->
     assert(m <= A || word == ROLLED_BACK);
     assert(!good(word) || index_value == receipted_note || index_value == anchored_note)
  :: else
  fi;
  /* a TPM older than the log's receipts */
  assert(m >= b || word == ROLLED_BACK);
  /* slots kept: whatever was signed and is gone, or is another now, is seen */
  assert(cut_slot || slot_note == 0 || note_size[slot_note] <= size || word == ROLLED_BACK || word == TAMPERED);
  assert(cut_slot || slot_note == 0 || note_size[slot_note] > size || log[note_size[slot_note] - 1] == note_last[slot_note] || !good(word));
  /* in the same boot: an extended checkpoint that is gone is seen, slots or not */
  assert(!lost_in_boot || !good(word));
  /* registers extended by others */
  assert(pcr_value != FOREIGN || !good(word));
  assert(index_value != FOREIGN || !good(word));
#ifdef LIMIT
  /* Not true, and documented so (docs/threat-model.md): run.sh expects spin to find the counterexample. */
  assert(!good(word) || !(cut_disk || cut_tpm));
#endif
}

#define crash_here if :: crashes < CRASHES -> crashes++; goto down :: true fi
#define append(e)  log[size] = e; size++

/* Each register moves only from where its reader expects it: else it is FOREIGN, and one of our own moves was wrong. */
inline do_extend_pcr(d) {
  d_step {
    assert(note_boot[d] == boot || cut_tpm);  /* never an old checkpoint into a new boot */
    if :: pcr_value == note_before[d] -> pcr_value = d :: else -> pcr_value = FOREIGN fi
  }
}
inline do_extend_index(d) {
  d_step { if :: index_value == note_index[d] -> index_value = d :: else -> index_value = FOREIGN fi }
}

active proctype Machine() {
down: skip;
  d_step { open_note = 0; want = false };
  do
  :: attacks < ATTACKS ->
     attacks++;
     if
     :: size > 0 -> /* an older disk: any prefix, which is what an append-only log once was */
        d_step { cut_disk = true };
        do
        :: size > 0 ->
           d_step {
             size--;
             if :: is_intent(log[size]) && note_boot[log[size]] == boot && pcr_value != 0 && pcr_value != note_before[log[size]] -> lost_in_boot = true :: else fi;
             log[size] = 0
           }
        :: break
        od;
        if
        :: true
        :: size < ENTRIES - 6 -> d_step { records++; append(RECORD + records) } /* and an invented record on top */
        fi
     :: slot_note > 0 -> d_step { cut_slot = true; slot_note-- }
     :: slot_note > 1 -> d_step { cut_slot = true; slot_note = 1 }
     :: slot_note > 0 -> d_step { cut_slot = true; slot_lost = true }
     :: copy_boot > 0 -> /* an older TPM: its permanent state goes back, and it starts */
        d_step { cut_tpm = true; counter = copy_counter; index_value = copy_index; boot = copy_boot + 1; pcr_value = 0; lost_in_boot = false }
     :: pcr_value = FOREIGN
     :: index_value = FOREIGN
     fi
  :: copy_boot == 0 && ATTACKS > 0 -> d_step { copy_counter = counter; copy_index = index_value; copy_boot = boot }
  :: boot < BOOTS -> d_step { boot++; pcr_value = 0; lost_in_boot = false }; break
  :: break
  od;

recover: skip;
  d_step { look(); decide(); judge() };
  if :: !goes_on -> goto ended :: else fi;
  d_step { q = (same -> note_number[newest_note] : 0); p_value = (same -> (extend_pcr -> note_before[newest_note] : newest_note) : 0) };
  if
  :: extend_pcr -> crash_here; do_extend_pcr(newest_note); p_value = newest_note; crash_here
  :: else
  fi;

finish: skip;  /* what is missing of a pending anchor; the TPM may put it off (NV_RATE) at each step */
  d_step { look() };
  if
  :: A > b ->
     if
     :: goto serve
     :: true ->
        if
        :: index_value != anchored_note ->
           crash_here;
#ifdef COUNT_FIRST
           if :: counter == b -> counter++; crash_here :: else fi;
#endif
           do_extend_index(anchored_note);
#ifdef BLIND_RETRY
           if :: do_extend_index(anchored_note) :: true fi;
#endif
           crash_here
        :: else
        fi;
        if :: goto serve :: true fi;
        if
        :: counter == b -> crash_here; d_step { counter++; assert(index_value == anchored_note) }; crash_here
        :: else
        fi;
        if :: goto serve :: true fi;
        d_step { assert(counter == A && index_value == anchored_note); append(RECEIPT + anchored_note) }
     fi
  :: else
  fi;

serve: skip;
  crash_here;
  if
  :: notes >= NOTES || size > ENTRIES - 4 -> goto ended
  :: else -> d_step { records++; append(RECORD + records) }
  fi;
  crash_here;
  d_step { look() };
  if :: want = true :: want = false fi;
  d_step {
    notes++;
    note_size[notes] = size; note_last[notes] = log[size - 1];
    note_boot[notes] = boot; note_number[notes] = q + 1; note_before[notes] = p_value;
    /* an anchor is due in a new boot, or wanted; one at a time */
    if
    :: A == b && (want || receipted_note == 0 || note_boot[receipted_note] != boot) -> note_anchor[notes] = A + 1; note_index[notes] = receipted_note
    :: else -> note_anchor[notes] = 0
    fi;
    open_note = notes; slot_note = notes; slot_lost = false; want = false
  };
#ifdef EXTEND_FIRST
  do_extend_pcr(open_note);
#endif
  crash_here;
  d_step { append(open_note) };
  crash_here;
#ifndef EXTEND_FIRST
  do_extend_pcr(open_note);
#endif
  d_step { q++; p_value = open_note; open_note = 0 };
  if :: pcr_value != p_value -> goto recover :: else fi;  /* the read-back */
  crash_here;
  goto finish;

ended:
  skip
}

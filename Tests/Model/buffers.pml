/*
 * heapd and one place of its buffer table: from AllocateVmo to the end of the memory, again and again, with a client
 * that hangs up or dies between any two steps of anybody. check.sh has spin try all orders, and says what it sets.
 *
 * What is proved, each by assertions where it would be broken:
 *
 * - Nobody uses a buffer after its reclaim: no parent after `going`, and no child whose memory went.
 * - Nothing is kept for ever: when nothing moves any more (`rest`), a buffer that no client has a child of is gone,
 *   with all descriptors, and of a client that is dead the connection is. With few requests all moving ends (BUDGET).
 * - DeleteVmo and AwaitReclaimed are answered once, and only after the last reference to the memory is gone.
 *
 * Modelled, by the names of the code:
 *
 * - `BufferTable.State` and its steps. check.sh compares both with the code's.
 * - ServerLoop: what it does of one event is one step, but a look, which others come between. It waits for nobody.
 *   In which order it takes events is left open.
 * - Connections, HeapRequests, ObserverRequests: AllocateVmo at once and on a worker, for a client that may be gone
 *   when it is done; DeleteVmo with the buffer's handle, joined by another, and with a foreign one; AwaitReclaimed;
 *   children that are refused or that nobody asked for, and the client's own end of the connection; answers that the
 *   socket does not take or that lie in it unread, and their deadline; hang-ups with messages on their way in both
 *   directions.
 * - CloseQueue, the disposer: a close takes as long as it likes, and ends. From whose files wait nothing is read, or
 *   the connection is dropped with what is in its socket.
 * - CloseReports: of memfds by inotify, which tells before the kernel counts; of dma-bufs by BPF, which tells after it
 *   counted and misses some, attached and detached while buffers come and go; and by the clock.
 * - ServedBuffers: looks, parents that are closed at once or by a worker; ParentStore: the manager keeps its copy or
 *   does not, and closes that of a dma-buf later than it says.
 *
 * Time has no length: what is scheduled comes at any later moment. A look by the clock that would find children
 * changes nothing, and is left out.
 *
 * Left out: more than one place, connection and request in a socket, so quotas and fairness; closes elsewhere come one
 * after the other; restarts and `abandonAll`, where holders keep the memory; counts that cannot be read, which the
 * schedule asks for again; errors of settling; OnReclaimed; isLookedAt and handles in the own process, which are the
 * library's; a manager that closes its copy of a memfd later than it says, which nothing tells the server. A tracker is
 * taken for a handle that holds nothing; what comes of others two mutants show.
 *
 * Each MUTANT_... undoes one thing that the code does. check.sh demands an error of every one.
 *
 * KIND: memfd, dmaBuf. STORE: whether there is a manager that keeps parents. STAGE: of CloseReports, at first.
 * STAYS: it does not detach, and the client may send its own end.
 */

mtype:state = { making, live, deleting, going, gone };

#define allows(from, to) ( \
  (from == gone && to == making) || \
  (from == making && to == live) || (from == making && to == gone) || \
  (from == live && to == deleting) || (from == live && to == going) || \
  (from == deleting && to == going) || \
  (from == going && to == gone))

mtype:kind = { memfd, dmaBuf };
mtype:request = { AllocateVmo, DeleteVmo, wrongHandle, AwaitReclaimed, discarded, ownEnd };
mtype:letter = { allocated, closed, dropped, attached, detached };
mtype:children = { none, copies, some };
mtype:storing = { no, kept, dropping };
mtype:stage = { off, attaching, on, detaching, failed };
mtype:sending = { nothing, unsent, sent };
mtype:job = { idle, allocate, close, keep, drop };

/* `hasTooMuch`: nothing is read. */
#define MOST 1

/* The buffer's record. */
mtype:state place = gone;
#define kind KIND
bit copied;             /* family.copies */
bit isHinted;
bit heardClose;
bit isScheduled;
mtype:storing storing = no;
bit isClosed;
bit waits[2];           /* `deletion` and `waiting`: requests to be answered at its end */

/* The kernel's side of it. */
byte refs;              /* to the memory, in the whole system; of a memfd, copies of the parent's file too */
bit parent;             /* the server's own */
bit stored;             /* the manager's copy */
bit closing;            /* a close is under way elsewhere, and counted still */
bit event;              /* inotify's report or BPF's, not read yet */
bit missed;             /* a close went unheard since the last round */
bit isLinked = (STAGE == on);          /* BPF is on the way of closes */

/* The server. */
#define hasStore STORE
mtype:stage stage = STAGE;
bit isIdle;             /* `idleCheck` is set */
mtype:job work = idle;  /* a worker's */
mtype:job told = idle;  /* the store's thread's */
byte discards;          /* the disposer's: children */
bit discardsEnd;        /* and the connection's other end */
chan mail = [3] of { mtype:letter };

/* The connection. */
bit isOpen = 1;         /* here */
byte ends = 1;          /* references to the client's end */
chan requests = [1] of { mtype:request, bit };
mtype:sending answer = nothing;  /* of AllocateVmo, with the first child */
bit left;               /* closed, and clientLeft not called yet */
bit owed[2];            /* requests that are to be answered */

#ifdef MUTANT_TRACKER_IS_THE_END
bit tracksEnd;
#endif

/* Clients. */
bit lives = 1;
bit child, otherChild;
bit hasEnd = 1;
bit hearsDeath = 1;     /* the process's descriptor is watched */

#define hasMemory (place == live || place == deleting)

inline step(next) {
  assert(allows(place, next));
  place = next
}

inline useParent() { assert(parent && hasMemory) }

/* The program runs after a reference fell. */
inline hear() {
  if
  :: kind == dmaBuf && isLinked && isHinted && refs <= 1 + copied -> if :: event = 1 :: missed = 1 fi
  :: else
  fi
}

/* close(2) of a child in the loop: all is done on return. */
inline closeHere() {
  refs--;
  if :: kind == memfd -> event = 1 :: else -> hear() fi
}

inline closeEnd() {
  ends--;
  if
  :: ends == 0 && answer == sent -> answer = nothing; closing = 1
  :: else
  fi
}

active proctype kernel() {
  do
  :: closing && kind == memfd -> event = 1; atomic { refs--; closing = 0 }
  :: closing && kind == dmaBuf -> refs--; atomic { hear(); closing = 0 }
  od
}

/* MARK: Clients */

#ifdef BUDGET
byte budget = BUDGET;
#define spend budget--
#else
#define budget 1
#define spend true
#endif
#define canAsk (hasEnd && isOpen && nfull(requests) && budget > 0)

/*
 * Where it dies the kernel closes what it holds, one thing after the other and in any order: so may it itself, between
 * any two of its steps. It may also be idle for ever.
 */
active proctype client() {
  do
  :: atomic { canAsk && place == gone -> requests!AllocateVmo, 0; spend }
  :: atomic { canAsk -> requests!wrongHandle, 0; spend }
  :: atomic { canAsk && STAYS && ends == 1 -> ends++; requests!ownEnd, 0; spend }
  :: atomic { canAsk && child && !owed[0] -> owed[0] = 1; refs++; requests!DeleteVmo, 0; spend }
  :: atomic { canAsk && child && !owed[1] -> owed[1] = 1; refs++; requests!DeleteVmo, 1; spend }
  :: atomic { canAsk && child && !owed[1] -> owed[1] = 1; refs++; requests!AwaitReclaimed, 1; spend }
  :: atomic { canAsk && child -> refs++; requests!discarded, 0; spend }
  :: atomic { hasEnd && answer == unsent -> answer = sent }
  :: atomic { hasEnd && answer == sent -> answer = nothing; assert(!child); child = 1 }
#ifndef BUDGET
  :: child -> assert(parent && hasMemory)
#endif
  :: atomic { child && !otherChild && budget > 0 -> otherChild = 1; refs++; spend }
  :: atomic { child && !closing -> child = 0; closing = 1 }
  :: atomic { hasEnd && !closing -> hasEnd = 0; closeEnd() }
  :: atomic { !child && !hasEnd -> lives = 0; break }
  :: !child -> break
  od
}

/* Another process, which a child was given to. */
active proctype other() {
  do
#ifndef BUDGET
  :: otherChild -> assert(parent && hasMemory)
#endif
  :: atomic { otherChild && !closing -> otherChild = 0; closing = 1 }
  od
}

/* MARK: Threads of the server */

/* Closes what clients sent. How long that takes is theirs to say. */
active proctype disposer() {
  do
  :: atomic { discards > 0 && !closing -> discards--; closing = 1 }
  :: atomic { discardsEnd && !closing -> discardsEnd = 0; closeEnd() }
  od
}

active proctype worker() {
  do
  :: work == allocate ->
     atomic {
       if :: parent = 1; refs++ :: skip fi;
       work = idle;
       if :: parent && hasStore -> told = keep :: else -> mail!allocated fi
     }
  :: atomic { work == close -> work = idle; parent = 0; refs--; mail!closed }
  od
}

active proctype store() {
  do
  :: atomic { told == keep && !closing ->
       if
       :: stored = 1; refs++
       :: kind == dmaBuf -> refs++; closing = 1
       :: skip
       fi
     };
     atomic { copied = (kind == dmaBuf && refs > 1 -> 1 : 0); told = idle; mail!allocated }
  :: atomic { told == drop && !closing ->
       if
       :: stored && kind == dmaBuf -> closing = 1
       :: stored && kind == memfd -> refs--
       :: else
       fi;
       stored = 0; told = idle; mail!dropped
     }
  od
}

active proctype attacher() {
  do
  :: atomic { stage == attaching && !isLinked -> isLinked = 1 };
     mail!attached; stage != attaching
  :: atomic { stage == attaching && !isLinked -> mail!attached }; stage != attaching
  :: atomic { stage == detaching && isLinked -> isLinked = 0; mail!detached }
  od
}

/* MARK: The loop */

#define isReadable (isOpen && answer != unsent && discards < MOST && (len(requests) > 0 || ends == 0))
#define isHungUp (isOpen && answer == unsent && ends == 0)
#define isDead (hearsDeath && !lives)
#ifdef MUTANT_LOOKS_AFTER_GOING
#define mayBeLookedAt (place != gone)
#else
#define mayBeLookedAt hasMemory
#endif
#define wouldFindNone (hasMemory && (kind == memfd -> refs == 1 + stored : refs <= 1 + copied))

/* DMABufParent.children */
inline countReferences() {
  if
  :: refs == 1 -> found = none
#ifdef MUTANT_COPIES_ARE_CHILDREN
  :: refs > 1 -> found = some
#else
  :: refs > 1 + copied -> found = some
  :: refs > 1 && refs <= 1 + copied -> found = copies
#endif
  fi
}

/* Family.children */
inline countChildren() {
  useParent();
  if
  :: kind == memfd -> found = (refs > 1 + stored -> some : none)
  :: kind == dmaBuf -> countReferences()
  fi
}

inline recheckUnreported() { if :: kind == dmaBuf && mayBeLookedAt -> looks = 1 :: else fi }

inline emptied() { if :: stage == on -> isIdle = 1 :: else fi }

inline reply(number) {
  if
  :: waits[number] ->
#ifndef MUTANT_ANSWERS_TWICE
     waits[number] = 0;
#endif
     if
     :: isOpen -> assert(refs == 0); assert(owed[number]); owed[number] = 0
     :: else
     fi
  :: else
  fi
}

/* ServedBuffers.closed and forget */
inline end() {
  if
  :: isEnded ->
     isEnded = 0; isClosed = 1;
     if
     :: storing == no -> forgets = 1
     :: storing == kept -> storing = dropping; told = drop
     fi
  :: else
  fi;
  if
  :: forgets ->
     forgets = 0; isClosed = 0;
     step(gone);
#ifdef MUTANT_TRACKER_IS_THE_END
     if :: tracksEnd -> tracksEnd = 0; discardsEnd = 1 :: else fi;
#endif
     reply(0); reply(1);
     emptied()
  :: else
  fi
}

active proctype loop() {
  mtype:request request;
  mtype:letter letter;
  mtype:children found = 0;
  bit number;
  /* What follows of it. */
  bit settles, closes, looks, isEnded, forgets;



next:
  do
  :: atomic {
       if
       :: nempty(mail) ->
          mail?letter;
          if
          :: letter == allocated -> settles = 1
          :: letter == closed -> isEnded = 1
          :: letter == dropped ->
             storing = no;
             if
             :: isClosed -> forgets = 1
             :: else -> assert(hasMemory); copied = 0; looks = 1
             fi
          :: letter == attached && !isLinked -> stage = failed
          :: letter == attached && isLinked ->
             stage = on; missed = 0;
             if
             :: place == gone -> isIdle = 1
             :: kind == dmaBuf && hasMemory -> isHinted = 1; looks = 1
             :: else
             fi
          :: letter == detached -> stage = (place == gone -> off : attaching)
          fi;
          letter = 0
       :: isReadable && len(requests) == 0 -> closes = 1
       :: isReadable && len(requests) > 0 ->
                    requests?request, number;
          if
          :: request == AllocateVmo && !hasStore ->
             step(making); parent = 1; refs++; settles = 1
          :: request == AllocateVmo -> step(making); work = allocate
          :: request == DeleteVmo ->
             assert(hasMemory);
             if :: place == live -> step(deleting) :: place == deleting fi;
             waits[number] = 1; isHinted = 0; closeHere(); looks = 1
          :: request == AwaitReclaimed -> assert(hasMemory); waits[number] = 1; closeHere(); looks = 1
          :: request == wrongHandle -> closes = (place != gone)
          :: request == discarded ->
#ifndef MUTANT_TRACKER_IS_A_CHILD
             discards++;
#endif
             if :: closes = 1 :: true fi
          :: request == ownEnd ->
#ifndef MUTANT_TRACKER_IS_THE_END
             discardsEnd = 1
#else
             if :: place == gone -> discardsEnd = 1 :: else -> tracksEnd = 1 fi
#endif
          fi;
          request = 0; number = 0
       :: isHungUp -> closes = 1
       :: isOpen && discards >= MOST && nempty(requests) -> closes = 1
#ifndef MUTANT_UNREAD_IS_KEPT
       :: isOpen && answer != nothing -> closes = 1
#endif
       :: isIdle && stage == on && !STAYS -> isIdle = 0; stage = detaching
       :: event ->
          event = 0;
          if
          :: hasMemory && kind == memfd -> looks = 1;
#ifndef MUTANT_HEARD_IS_FORGOTTEN
             heardClose = 1
#endif
          :: hasMemory && kind == dmaBuf -> looks = 1
          :: else
          fi
#ifndef MUTANT_MISSED_IS_FORGOTTEN
       :: missed && stage == on -> missed = 0; if :: hasMemory -> looks = 1 :: else fi
#endif
       :: isDead -> hearsDeath = 0; recheckUnreported()
       :: isScheduled && wouldFindNone -> isScheduled = 0; looks = 1
       :: left ->
          left = 0;
          waits[0] = 0; waits[1] = 0;
#ifndef MUTANT_LEFT_IS_NOT_RECHECKED
          recheckUnreported()
#endif
       fi;

       /* HeapRequests.finish and settle */
       if
       :: settles && !parent -> settles = 0; step(gone); emptied()
       :: settles && parent ->
          settles = 0;
          step(live);
          if :: hasStore -> storing = kept :: else fi;
          /* CloseReports.begin */
          isIdle = 0;
          if
          :: kind == dmaBuf && stage == on -> isHinted = 1
          :: kind == dmaBuf && stage == off -> stage = attaching
          :: else
          fi;
          if
          :: isOpen && ends > 0 ->
             useParent();
             refs++;
             if :: answer = sent :: answer = unsent fi;
             if :: kind == dmaBuf && !isHinted -> isScheduled = 1 :: else fi
          :: isOpen && ends == 0 ->
             closes = 1;
             if
             :: kind == memfd -> event = 1
             :: kind == dmaBuf && !isHinted -> isScheduled = 1
             :: else
             fi
          :: !isOpen ->
             if :: kind == memfd -> event = 1 :: else fi;
#ifndef MUTANT_NO_LOOK_FOR_THE_GONE
             looks = 1
#endif
          fi
       :: else
       fi;

       /* Connections.close, CloseQueue.letGo */
       if
       :: closes && isOpen ->
          isOpen = 0; left = 1; owed[0] = 0; owed[1] = 0;
          do
          :: nempty(requests) ->
             requests?request, number;
             if
             :: request == DeleteVmo || request == AwaitReclaimed || request == discarded -> discards++
             :: request == ownEnd -> discardsEnd = 1
             :: else
             fi
          :: empty(requests) -> break
          od;
          request = 0; number = 0;
          if :: answer == unsent -> answer = nothing; closeHere() :: else fi
       :: else
       fi;
       closes = 0;

       /* ServedBuffers.look */
       if
       :: looks && storing != dropping && mayBeLookedAt -> isHinted = 0; countChildren()
       :: else
       fi;
       looks = 0;
       end()
     };

     /* The rest of it, between whose steps others close. */
     if
     :: found != 0 && found != none ->
        isHinted = (kind == dmaBuf && stage == on);
#ifndef MUTANT_COUNTS_ONCE
        if :: atomic { isHinted -> useParent(); countReferences() } :: !isHinted fi
#endif
     :: found == none
     :: found == 0 -> goto next
     fi;
     atomic {
       if
       :: found == some -> isScheduled = (kind == dmaBuf && !isHinted || heardClose)
#ifdef MUTANT_COPIES_ARE_NOTHING
       :: found == none || found == copies ->
#else
       :: found == copies -> assert(storing == kept); storing = dropping; told = drop
       :: found == none ->
#endif
          if :: place == live -> step(going) :: place == deleting -> step(going) fi;
          assert(refs == 1 + (kind == memfd && stored));
          isHinted = 0; heardClose = 0; isScheduled = 0;
          if :: kind == memfd -> event = 0 :: else fi;
#ifdef MUTANT_ANSWERS_AT_GOING
          reply(0); reply(1);
#endif
#ifdef MUTANT_PLACE_IS_FREE_EARLY
          forgets = 1;
#endif
          /* What is large a worker closes. */
          if :: parent = 0; refs--; isEnded = 1 :: work = close fi
       fi;
       found = 0;
       end()
     }
  od
}

/* When nothing moves any more. */
active proctype rest() {
  timeout ->
  if
  :: !child && !otherChild && answer != sent ->
     assert(place == gone && refs == 0 && !stored);
     assert(discards == 0 && !discardsEnd && !owed[0] && !owed[1])
  :: else
  fi;
  assert(lives || !isOpen)
}

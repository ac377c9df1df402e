package m2m

import (
	"crypto/sha256"
	"sync"
)

// verified is a token that was verified, and the key that did it.
type verified struct {
	token *AccessToken
	id    keyID
	key   *publicKey
}

// remembered keeps the tokens that were verified of late, by their hash, so that no token stays in memory for it. What is not
// asked for goes with its generation: at most half of all are younger than the last change of generations.
type remembered struct {
	limit int // of a generation

	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]verified
}

func newRemembered(size int) *remembered {
	return &remembered{limit: max(1, size/2), young: map[[sha256.Size]byte]verified{}}
}

// get returns what is remembered, a zero value if nothing is.
func (r *remembered) get(digest [sha256.Size]byte) verified {
	r.mu.RLock()
	known, young := r.young[digest]
	old := r.old[digest]
	r.mu.RUnlock()
	if !young && old.token != nil {
		r.put(digest, old)
		return old
	}
	return known
}

func (r *remembered) put(digest [sha256.Size]byte, v verified) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, there := r.young[digest]; !there && len(r.young) >= r.limit {
		r.old, r.young = r.young, make(map[[sha256.Size]byte]verified, r.limit)
	}
	r.young[digest] = v
}

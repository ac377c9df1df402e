package m2m

import (
	"context"
	"time"
)

// recheck is how old credentials may be that a token is asked with. A secret that was rotated is picked up at the next
// request for a token that comes later than that, long before the old one is deleted.
const recheck = 5 * time.Minute

// recheckTime is how long that reading may take, so that there is time left to go on with the credentials at hand.
const recheckTime = 5 * time.Second

// recentCredentials returns the credentials at hand, read anew if they are older than recheck. That the place where they
// are kept can't be reached is no reason to do without the ones at hand: most likely they are valid still.
func (s *Source) recentCredentials(ctx context.Context) (*Credentials, error) {
	known := s.credentials.Load()
	if known == nil {
		return s.readCredentials(ctx, nil)
	}
	// A wall clock that was set back may say that they were read in the future.
	if age := s.now().UnixNano() - s.readAt.Load(); age >= 0 && age < int64(recheck) {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recheckTime)
	defer cancel()
	again, err := s.readCredentials(ctx, known)
	if err != nil {
		return known, nil
	}
	return again, nil
}

package m2m_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func TestARotatedSecretIsPickedUpAtTheNextToken(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		p := &provider{credentials: w.credentials()}
		config := w.config()
		config.Credentials = p
		source := w.source(config)
		w.token(source)
		p.credentials.AppSecret = m2m.NewSecret(w.tenant.AddSecret(w.app.ID, logtotest.Secret{Name: "second"}).Value)
		time.Sleep(50 * time.Minute)
		w.token(source)
		if p.reads != 1 {
			t.Errorf("%d reads with a valid token at hand, want 1", p.reads)
		}
		time.Sleep(10 * time.Minute)
		w.tenant.DeleteSecret(w.app.ID, logtotest.DefaultSecret)
		w.token(source)
		if got, want := source.Stats(), (m2m.Stats{Tokens: 2, TokenRequests: 2, SecretReads: 2}); got != want {
			t.Errorf("stats %+v, want %+v: no request with the old secret", got, want)
		}
	})
}

func TestCredentialsThatWereReadJustNowAreNotReadAgain(t *testing.T) {
	inWorld(t, logtotest.Config{TokenLifetime: time.Minute}, func(w *world) {
		p := &provider{credentials: w.credentials()}
		config := w.config()
		config.Credentials = p
		source := w.source(config)
		for range 10 {
			w.token(source)
			time.Sleep(time.Minute)
		}
		if p.reads != 2 {
			t.Errorf("%d reads in ten minutes and ten tokens, want one every five minutes", p.reads)
		}
	})
}

func TestCredentialsAtHandServeWhenTheyCannotBeReadAgain(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		p := &provider{credentials: w.credentials()}
		config := w.config()
		config.Credentials = p
		source := w.source(config)
		w.token(source)
		p.err = errors.New("out of order")
		time.Sleep(time.Hour)
		w.token(source)
		if p.reads != 2 {
			t.Errorf("%d reads, want a second that failed", p.reads)
		}
	})
}

// stuck is a place that gives the credentials once and then does not answer.
type stuck struct{ provider }

func (s *stuck) Credentials(ctx context.Context) (m2m.Credentials, error) {
	if s.reads > 0 {
		<-ctx.Done()
		return m2m.Credentials{}, ctx.Err()
	}
	return s.provider.Credentials(ctx)
}

func TestCredentialsAtHandServeWhenTheirPlaceDoesNotAnswer(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		config := w.config()
		config.Credentials = &stuck{provider{credentials: w.credentials()}}
		source := w.source(config)
		w.token(source)
		time.Sleep(time.Hour)
		began := time.Now()
		w.token(source)
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("waited %v, want 5s", waited)
		}
	})
}

func TestAWallClockThatWasSetBackMakesCredentialsBeReadAgain(t *testing.T) {
	inWorld(t, logtotest.Config{}, func(w *world) {
		p := &provider{credentials: w.credentials()}
		config := w.config()
		config.Credentials = p
		source := w.source(config)
		source.Invalidate(w.token(source))
		w.leap.Store(int64(-time.Hour))
		w.token(source)
		if p.reads != 2 {
			t.Errorf("%d reads, want 2", p.reads)
		}
	})
}

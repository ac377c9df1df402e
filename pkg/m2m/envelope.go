package m2m

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/oauth2"
)

// envelope seals tokens for a cache.
type envelope struct {
	name string // under which they are kept
	aead cipher.AEAD
}

// sealed is what is in an envelope.
type sealed struct {
	token    *oauth2.Token
	asked    time.Time // on the wall clock of who got it
	lifetime time.Duration
}

// envelope makes the one for this Source's tokens. All that a token depends on goes into name and key (RFC 5869 section 3.2,
// info), so that nothing sealed for another purpose opens, wherever it was copied to. The name is derived from the secret,
// too: it tells nothing, and a new secret never meets what was sealed with the old one.
func (s *Source) envelope(c *Credentials) (*envelope, error) {
	scopes := slices.Sorted(slices.Values(s.config.Scopes))
	purpose, err := json.Marshal([]any{s.tokenURL(c), c.AppID, s.resource(c), s.config.OrganizationID, slices.Compact(scopes)})
	if err != nil {
		return nil, err
	}
	secret := []byte(c.AppSecret.Reveal())
	defer clear(secret)
	derive := func(what string) ([]byte, error) {
		return hkdf.Key(sha256.New, secret, nil, "m2mjobs token cache 1, "+what+": "+string(purpose), 32)
	}
	name, err := derive("name")
	if err != nil {
		return nil, err
	}
	key, err := derive("key")
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &envelope{name: hex.EncodeToString(name), aead: aead}, nil
}

// content is the form of what is sealed.
type content struct {
	Token    string `json:"token"`
	Scope    string `json:"scope"`
	Asked    int64  `json:"asked"`    // Unix milliseconds
	Lifetime int64  `json:"lifetime"` // milliseconds
}

func (e *envelope) seal(t sealed) ([]byte, error) {
	scope, _ := t.token.Extra("scope").(string)
	plain, err := json.Marshal(content{t.token.AccessToken, scope, t.asked.UnixMilli(), t.lifetime.Milliseconds()})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return e.aead.Seal(nil, nil, plain, []byte(e.name)), nil // #nosec G407 -- it makes its nonce itself
}

var errNotSealed = errors.New("what it has was not sealed for this app with this secret, or was changed since")

func (e *envelope) open(data []byte) (sealed, error) {
	plain, err := e.aead.Open(nil, nil, data, []byte(e.name))
	if err != nil {
		return sealed{}, errNotSealed
	}
	defer clear(plain)
	var c content
	if err := json.Unmarshal(plain, &c); err != nil {
		return sealed{}, fmt.Errorf("the content of what it has: %w", err)
	}
	t := sealed{asked: time.UnixMilli(c.Asked), lifetime: time.Duration(c.Lifetime) * time.Millisecond}
	t.token = newToken(c.Token, c.Scope, t.lifetime)
	t.token.Expiry = t.asked.Add(t.lifetime)
	return t, nil
}

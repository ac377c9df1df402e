package m2m

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// maxAnswer is how much of a token endpoint's answer is read. A token of Logto has some 600 bytes.
const maxAnswer = 256 << 10

// fetch gets a token. When the secret is refused it is read again, once, and only if it changed is the tenant asked
// again: so a rotated secret costs one failed request and no failed run.
func (s *Source) fetch(ctx context.Context, f *flight) (*kept, error) {
	c, err := s.recentCredentials(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.obtain(ctx, f, c)
	if refused := (*TokenError)(nil); errors.As(err, &refused) && refused.refusesSecret() {
		again, readErr := s.readCredentials(ctx, c)
		if readErr != nil {
			return nil, fmt.Errorf("%w; and %w", err, readErr)
		}
		if !again.Equal(*c) {
			return s.obtain(ctx, f, again)
		}
	}
	return k, err
}

// request asks for a token, again where that may help.
func (s *Source) request(ctx context.Context, f *flight, c *Credentials) (*kept, error) {
	for attempt := 1; ; attempt++ {
		k, err := s.ask(ctx, c)
		if err == nil {
			return k, s.checkScopes(c, k)
		}
		f.latest.Store(&err)
		wait := backoff(attempt, nil)
		if refused := (*TokenError)(nil); errors.As(err, &refused) {
			if !refused.temporary() {
				return nil, err
			}
			wait = max(wait, refused.RetryAfter)
		} else if errors.As(err, new(*answerError)) {
			return nil, err
		}
		if attempt == maxAttempts || !sleep(ctx, wait) {
			return nil, err
		}
	}
}

// ask sends one request for a token (RFC 6749 section 4.4.2).
func (s *Source) ask(ctx context.Context, c *Credentials) (*kept, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	for name, value := range map[string]string{
		"resource":        s.resource(c),
		"scope":           strings.Join(s.config.Scopes, " "),
		"organization_id": s.config.OrganizationID,
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.tokenURL(c), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// Both parts are form-urlencoded first (RFC 6749 section 2.3.1; recorded: token-special-secret-encoded).
	req.SetBasicAuth(url.QueryEscape(c.AppID), url.QueryEscape(c.AppSecret.Reveal()))

	asked, wall := time.Now(), s.now()
	s.tokenRequests.Add(1)
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("token for %s: %w", target(s.resource(c), s.config.OrganizationID), err)
	}
	defer resp.Body.Close()
	body, err := readLimited(resp.Body, maxAnswer)
	if errors.Is(err, errTooLong) {
		return nil, &answerError{s.tokenURL(c), err}
	}
	if err != nil {
		return nil, fmt.Errorf("token for %s: answer of %s: %w", target(s.resource(c), s.config.OrganizationID), s.tokenURL(c), err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, s.refusal(c, resp, body)
	}
	token, lifetime, err := parseToken(body)
	if err != nil {
		return nil, &answerError{s.tokenURL(c), err}
	}
	s.tokens.Add(1)
	token.Expiry = wall.Add(lifetime)
	return keep(token, asked, wall, lifetime), nil
}

// answerError says that the token endpoint answered 200 with something that is no token.
type answerError struct {
	tokenURL string
	err      error
}

func (e *answerError) Error() string {
	return fmt.Sprintf("%s answered something else than a token (%v): check that this is a token endpoint", e.tokenURL, e.err)
}

func (e *answerError) Unwrap() error { return e.err }

// parseToken reads a successful answer (RFC 6749 section 5.1). Its errors quote nothing of it.
func parseToken(body []byte) (*oauth2.Token, time.Duration, error) {
	var answer struct {
		AccessToken string      `json:"access_token"`
		TokenType   string      `json:"token_type"`
		ExpiresIn   json.Number `json:"expires_in"`
		Scope       string      `json:"scope"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, 0, errors.New("not the JSON object of RFC 6749 section 5.1")
	}
	if answer.AccessToken == "" || strings.ContainsFunc(answer.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, 0, errors.New("access_token is missing or not of the form that a header can carry")
	}
	if !strings.EqualFold(answer.TokenType, "Bearer") {
		return nil, 0, errors.New("token_type is not Bearer")
	}
	seconds, err := answer.ExpiresIn.Float64()
	if err != nil || seconds < 1 {
		return nil, 0, errors.New("expires_in is missing or no positive number of seconds, so nobody can tell how long the token is good for")
	}
	lifetime := time.Duration(min(seconds, 1e9)) * time.Second
	return newToken(answer.AccessToken, answer.Scope, lifetime), lifetime, nil
}

func newToken(accessToken, scope string, lifetime time.Duration) *oauth2.Token {
	token := &oauth2.Token{AccessToken: accessToken, TokenType: "Bearer", ExpiresIn: int64(lifetime / time.Second)}
	return token.WithExtra(map[string]any{"scope": scope})
}

// checkScopes compares what was granted with what was asked.
func (s *Source) checkScopes(c *Credentials, k *kept) error {
	scope, _ := k.token.Extra("scope").(string)
	granted := strings.Fields(scope)
	if missed := missing(s.config.Scopes, granted); len(missed) > 0 {
		return &ScopeError{AppID: c.AppID, Resource: target(s.resource(c), s.config.OrganizationID),
			Asked: s.config.Scopes, Granted: granted, Missing: missed}
	}
	return nil
}

// refusal reads an answer other than 200 (RFC 6749 section 5.2, and Logto's own code).
func (s *Source) refusal(c *Credentials, resp *http.Response, body []byte) error {
	var answer struct {
		Code        string `json:"code"`
		Message     string `json:"message"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil {
		answer.Message = "the answer is not JSON"
	}
	description := answer.Description
	if description == "" {
		description = answer.Message
	}
	code := answer.Error
	if code == "" {
		code = answer.Code
	}
	return &TokenError{
		Status:         resp.StatusCode,
		Code:           excerpt(code, c),
		Description:    excerpt(description, c),
		RequestID:      excerpt(resp.Header.Get("Logto-Core-Request-Id"), c),
		RetryAfter:     retryAfter(resp.Header, s.now()),
		TokenURL:       s.tokenURL(c),
		AppID:          c.AppID,
		Resource:       s.resource(c),
		OrganizationID: s.config.OrganizationID,
		kind:           kindOf(resp.StatusCode, answer.Error, answer.Code, answer.Description),
	}
}

// excerpt makes a server's words fit for a log: short, printable, and without the secret should they echo it.
func excerpt(words string, c *Credentials) string {
	secret := c.AppSecret.Reveal()
	escaped := url.QueryEscape(secret)
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.AppID) + ":" + escaped))
	for _, form := range []string{secret, escaped, basic} {
		words = strings.ReplaceAll(words, form, "***")
	}
	words = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, words)
	if len(words) > 200 {
		words = strings.ToValidUTF8(words[:200], "") + "..."
	}
	return words
}

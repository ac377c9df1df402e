package logtotest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// hookTimeout is how long Logto waits for a receiver's answer.
const hookTimeout = 10 * time.Second

// Events of users that a hook can listen to.
const (
	UserCreated          = "User.Created"
	UserDeleted          = "User.Deleted"
	UserDataUpdated      = "User.Data.Updated"
	UserSuspensionStatus = "User.SuspensionStatus.Updated"
)

// Hook is a webhook of the tenant.
type Hook struct{ ID, SigningKey string }

type hook struct {
	Hook
	url     string
	events  []string
	queue   []delivery // the first is being sent
	entries []logEntry // oldest first
}

type delivery struct {
	event string
	body  fields
}

// Signature is what Logto puts into the header logto-signature-sha-256: the HMAC-SHA256 of the raw body under the hook's
// signing key, in hexadecimal.
func Signature(signingKey string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(signingKey))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// AddHook makes a webhook that posts the events (UserCreated and its like) to the URL. Each event is delivered once: Logto was
// seen not to try again. The deliveries of one hook go one after another, in the order of the events.
func (t *Tenant) AddHook(url string, events ...string) Hook {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := &hook{Hook: Hook{ID: newID(), SigningKey: newSecret()}, url: url, events: events}
	t.hooks = append(t.hooks, h)
	return h.Hook
}

// FlushHooks waits until every webhook fired so far is answered or has failed.
func (t *Tenant) FlushHooks() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.pending > 0 {
		t.idle.Wait()
	}
}

func (t *Tenant) fireCreated(u *user, agent string) {
	t.fire(UserCreated, agent, request("/users", "POST", http.StatusOK, "", "/users"), fields{{"data", u.json()}}, false)
}

func (t *Tenant) fireUpdated(u *user, agent string) {
	t.fire(UserDataUpdated, agent, request("/users/"+u.id, "PATCH", http.StatusOK, u.id, "/users/:userId"), fields{{"data", u.json()}}, false)
}

// fireCustomData fires even where nothing changed, and data is the custom data alone (recorded: webhook-custom-data-noop).
func (t *Tenant) fireCustomData(u *user, agent string) {
	t.fire(UserDataUpdated, agent, request("/users/"+u.id+"/custom-data", "PATCH", http.StatusOK, u.id, "/users/:userId/custom-data"),
		fields{{"data", u.customData}}, false)
}

func (t *Tenant) fireSuspended(u *user, agent string) {
	t.fire(UserSuspensionStatus, agent, request("/users/"+u.id+"/is-suspended", "PATCH", http.StatusOK, u.id, "/users/:userId/is-suspended"),
		fields{{"data", u.json()}}, false)
}

// fireDeleted puts data before the request, and without hasPassword (recorded: webhook-user-deleted).
func (t *Tenant) fireDeleted(u *user, agent string) {
	t.fire(UserDeleted, agent, request("/users/"+u.id, "DELETE", http.StatusNoContent, u.id, "/users/:userId"), fields{{"data", u.shared()}}, true)
}

// request describes the request that caused an event.
func request(path, method string, status int, userID, route string) fields {
	params := fields{}
	if userID != "" {
		params = fields{{"userId", userID}}
	}
	return fields{{"path", path}, {"method", method}, {"status", status}, {"params", params}, {"matchedRoute", route}}
}

// fire queues an event for every hook that listens. agent is the User-Agent of the request that caused it: Logto's source
// has it before the ip, and leaves it out where it is missing, as in all recorded webhooks. The caller holds t.mu.
func (t *Tenant) fire(event, agent string, request, data fields, dataFirst bool) {
	if dataFirst {
		request, data = data, request
	}
	for _, h := range t.hooks {
		if !slices.Contains(h.events, event) || t.closing.Err() != nil {
			continue
		}
		body := fields{{"event", event}, {"createdAt", t.now().UTC().Format("2006-01-02T15:04:05.000Z")}}
		if agent != "" {
			body = append(body, field{"userAgent", agent})
		}
		body = slices.Concat(append(body, field{"ip", loopback}), request, data, fields{{"hookId", h.ID}})
		h.queue = append(h.queue, delivery{event, body})
		t.pending++
		if len(h.queue) == 1 {
			go t.deliver(h)
		}
	}
}

// deliver sends a hook's queue and ends when it is empty, so that an idle tenant has no goroutine for it.
func (t *Tenant) deliver(h *hook) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(h.queue) > 0 {
		d := h.queue[0]
		t.mu.Unlock()
		entry := t.send(h, d)
		t.mu.Lock()
		h.entries = keep(h.entries, entry)
		h.queue = h.queue[1:]
		t.pending--
	}
	t.idle.Broadcast()
}

// send makes one attempt and returns the log's entry of it.
func (t *Tenant) send(h *hook, d delivery) logEntry {
	key := "TriggerHook." + d.event
	sent := fields{{"hookId", h.ID}, {"hookRequest", fields{{"body", d.body}}}}
	response, err := t.post(h, d)
	payload := slices.Concat(fields{{"key", key}, {"result", resultSuccess}}, sent)
	if err != nil {
		payload = slices.Concat(fields{{"key", key}, {"result", resultError}}, sent, fields{{"error", err.Error()}})
	}
	if response != nil {
		payload = append(payload, field{"response", response})
	}
	return logEntry{id: newID(), key: key, payload: payload, createdAt: t.now()}
}

// post sends the request exactly as recorded in the webhook files.
func (t *Tenant) post(h *hook, d delivery) (response fields, err error) {
	body, err := appendJSON(nil, d.body)
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	ctx, cancel := context.WithTimeout(t.closing, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	for k, v := range map[string]string{
		"Logto-Signature-Sha-256": Signature(h.SigningKey, body),
		"User-Agent":              "Logto (https://logto.io/)",
		"Content-Type":            "application/json",
		"Accept":                  "*/*",
		"Accept-Language":         "*",
		"Sec-Fetch-Mode":          "cors",
		"Accept-Encoding":         "gzip, deflate",
	} {
		req.Header.Set(k, v)
	}
	resp, err := t.hookSend.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err = closeAfter(resp.Body, err); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	response = fields{{"statusCode", resp.StatusCode}, {"body", string(answer)}}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return response, fmt.Errorf("HTTPError: Request failed with status code %d", resp.StatusCode)
	}
	return response, nil
}

// closeAfter closes c and returns the first error.
func closeAfter(c io.Closer, err error) error {
	if closeErr := c.Close(); err == nil {
		return closeErr
	}
	return err
}

// recentLogs answers a hook's deliveries, newest first, failed ones with their bodies.
func (t *Tenant) recentLogs(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.hooks {
		if h.ID == r.PathValue("id") {
			return logPage(r, h.entries)
		}
	}
	return notFound()
}

package logtotest

import (
	"net/http"
	"net/url"
	"time"
)

// maxLogs is how many entries of the audit log are kept, and of each hook's deliveries.
const maxLogs = 10_000

const (
	loopback      = "::ffff:127.0.0.1" // how Logto shows a client of this machine
	masked        = "******"
	resultSuccess = "Success"
	resultError   = "Error"
)

// logEntry is an entry of the audit log.
type logEntry struct {
	id, key   string
	appID     string
	payload   fields
	createdAt time.Time
}

func (e logEntry) json() fields {
	return fields{{"tenantId", tenantID}, {"id", e.id}, {"key", e.key}, {"payload", e.payload}, {"createdAt", millis(e.createdAt)}}
}

// keep appends an entry to a log and drops the oldest where it is too long.
func keep(log []logEntry, e logEntry) []logEntry {
	if len(log) >= maxLogs {
		log = log[len(log)/2:]
	}
	return append(log, e)
}

// logExchange writes what came of a token request, as recorded in logs-client-credentials: the payload of a success names
// the secret.
func (t *Tenant) logExchange(appID, secretName string, params url.Values, scope string, a answer) {
	key := "ExchangeTokenBy." + exchangeBy(params.Get("grant_type"))
	var p fields
	for _, name := range []string{"scope", "resource", "organization_id", "grant_type"} {
		if params.Has(name) {
			p = append(p, field{name, params.Get(name)})
		}
	}
	if a.status != http.StatusOK {
		p = append(p, field{"actor_token", masked})
	}
	p = append(p, field{"client_secret", masked})
	if a.status != http.StatusOK {
		p = append(p, field{"refresh_token", masked}, field{"subject_token", masked})
	}
	payload := fields{{"key", key}, {"result", resultSuccess}}
	if a.status != http.StatusOK {
		// The cause is JSON in a string. Logto's has a stack trace besides.
		cause := "{}"
		if b, err := appendJSON(nil, a.body); err == nil {
			cause = string(b)
		}
		payload = fields{{"key", key}, {"result", resultError}, {"error", cause}}
	}
	payload = append(payload, field{"ip", loopback})
	if appID != "" {
		payload = append(payload, field{"applicationId", appID})
	}
	payload = append(payload, field{"params", p})
	if a.status == http.StatusOK {
		if scope != "" {
			payload = append(payload, field{"scope", scope})
		}
		payload = append(payload, field{"tokenTypes", []string{"AccessToken"}})
	} else {
		payload = append(payload, field{"tokenTypes", []string{}})
	}
	if secretName != "" {
		payload = append(payload, field{"applicationSecret", fields{{"name", secretName}}})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.audit = keep(t.audit, logEntry{newID(), key, appID, payload, t.now()})
}

func exchangeBy(grant string) string {
	switch grant {
	case grantClientCredentials:
		return "ClientCredentials"
	case "authorization_code":
		return "AuthorizationCode"
	case "refresh_token":
		return "RefreshToken"
	}
	return "Unknown"
}

// listLogs answers the audit log, newest first, by applicationId and logKey.
func (t *Tenant) listLogs(r *http.Request) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return logPage(r, t.audit)
}

// logPage answers a page of a log, newest first, of the entries that the query asks for.
func logPage(r *http.Request, log []logEntry) answer {
	page, refused := pageOf(r)
	if refused != nil {
		return *refused
	}
	q := r.URL.Query()
	var found []logEntry
	for i := len(log) - 1; i >= 0; i-- {
		e := log[i]
		if q.Has("applicationId") && e.appID != q.Get("applicationId") || q.Has("logKey") && e.key != q.Get("logKey") {
			continue
		}
		found = append(found, e)
	}
	list := make([]fields, 0, page.size)
	for _, e := range slice(found, page) {
		list = append(list, e.json())
	}
	return paged(r, page, len(found), list)
}

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

const (
	logsPage   = 100      // the most that Logto gives at once (recorded: users-page-101)
	maxLogs    = 64 << 20 // a page of the largest deliveries, each with the answer it got
	maxRefusal = 64 << 10 // what is read of an error
)

// entry is a delivery in a webhook's recent logs.
type entry struct {
	ID        string      `json:"id"`
	CreatedAt json.Number `json:"createdAt"` // milliseconds
	Payload   struct {
		Result      string `json:"result"`
		HookRequest struct {
			Body json.RawMessage `json:"body"`
		} `json:"hookRequest"`
	} `json:"payload"`
}

// failed tells whether Logto counts the delivery as failed.
func (e entry) failed() bool { return e.Payload.Result == "Error" }

// at is when the delivery was logged; zero if the log does not say.
func (e entry) at() time.Time {
	ms, err := e.CreatedAt.Float64()
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// recentLogs iterates over a webhook's deliveries since a time, newest first. An entry may come twice, as those that are
// logged meanwhile shift the pages. The first error ends it.
func recentLogs(ctx context.Context, client *http.Client, endpoint, hookID string, since time.Time) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for page := 1; ; page++ {
			entries, err := logPage(ctx, client, endpoint, hookID, since, page)
			if err != nil {
				yield(entry{}, err)
				return
			}
			for _, e := range entries {
				// A Logto that does not know start_time answers 24 hours.
				if at := e.at(); !at.IsZero() && at.Before(since) {
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			if len(entries) < logsPage {
				return
			}
		}
	}
}

func logPage(ctx context.Context, client *http.Client, endpoint, hookID string, since time.Time, page int) (entries []entry, err error) {
	path := "/api/hooks/" + url.PathEscape(hookID) + "/recent-logs"
	query := url.Values{
		"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(logsPage)},
		"start_time": {strconv.FormatInt(since.UnixMilli(), 10)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(endpoint, "/")+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", UserAgent)
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	defer func() {
		if closeErr := resp.Body.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("GET %s: closing the answer: %w", path, closeErr)
		}
	}()
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(req, resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLogs)).Decode(&entries); err != nil {
		// The decoder's error may quote what it read.
		return nil, fmt.Errorf("GET %s: page %d is not a list of deliveries, is larger than %d bytes, or broke off", path, page, maxLogs)
	}
	return entries, nil
}

// refusal is an answer other than success, of which code and message are all that is read.
func refusal(req *http.Request, resp *http.Response) error {
	e := &logto.Error{
		Status: resp.StatusCode, RequestID: resp.Header.Get("Logto-Core-Request-Id"), Method: req.Method, Path: req.URL.EscapedPath(),
	}
	var body struct{ Code, Message string }
	// A body that is not JSON leaves the status, which says enough.
	if json.NewDecoder(io.LimitReader(resp.Body, maxRefusal)).Decode(&body) == nil {
		e.Code, e.Message = body.Code, body.Message
	}
	if errors.Is(e, logto.ErrNotFound) {
		return fmt.Errorf("%w; is hookId in the signing secret the id of a webhook of this tenant?", e)
	}
	return e
}

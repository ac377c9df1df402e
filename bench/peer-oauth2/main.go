// Command peer-oauth2 brings users' custom data up to date with golang.org/x/oauth2 and net/http, as one writes it by hand:
//
//	peer-oauth2 SECRET-FILE ROWS.ndjson [HOW-MANY-AT-ONCE]
//
// A row names its user by id, or by e-mail address, which has to be searched first. What the rate limit refuses is repeated.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/errgroup"
)

type row struct {
	ID           string          `json:"id"`
	PrimaryEmail string          `json:"primaryEmail"`
	CustomData   json.RawMessage `json:"customData"`
}

type api struct {
	endpoint string
	client   *http.Client
}

func main() {
	atOnce := 1
	if len(os.Args) > 3 {
		var err error
		if atOnce, err = strconv.Atoi(os.Args[3]); err != nil {
			log.Fatal(err)
		}
	}
	if err := syncFile(context.Background(), os.Args[1], os.Args[2], atOnce); err != nil {
		log.Fatal(err)
	}
}

func syncFile(ctx context.Context, secretFile, rowsFile string, atOnce int) (err error) {
	data, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	var secret struct{ Endpoint, AppID, AppSecret string }
	if err := json.Unmarshal(data, &secret); err != nil {
		return err
	}
	config := clientcredentials.Config{
		ClientID:       secret.AppID,
		ClientSecret:   secret.AppSecret,
		TokenURL:       secret.Endpoint + "/oidc/token",
		Scopes:         []string{"all"},
		EndpointParams: url.Values{"resource": {"https://default.logto.app/api"}},
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = atOnce
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport})
	a := api{secret.Endpoint, config.Client(ctx)}

	file, err := os.Open(rowsFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var group errgroup.Group
	group.SetLimit(atOnce)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return errors.Join(err, group.Wait())
		}
		group.Go(func() error { return a.syncRow(ctx, r) })
	}
	return errors.Join(group.Wait(), lines.Err())
}

func (a api) syncRow(ctx context.Context, r row) error {
	if r.ID == "" {
		id, err := a.findUser(ctx, r.PrimaryEmail)
		if err != nil {
			return err
		}
		r.ID = id
	}
	body, err := json.Marshal(map[string]any{"customData": r.CustomData})
	if err != nil {
		return err
	}
	_, err = a.send(ctx, http.MethodPatch, "/api/users/"+r.ID+"/custom-data", body)
	return err
}

func (a api) findUser(ctx context.Context, email string) (id string, err error) {
	query := url.Values{"search.primaryEmail": {email}, "mode.primaryEmail": {"exact"}}
	answer, err := a.send(ctx, http.MethodGet, "/api/users?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	var users []struct{ ID string }
	if err := json.Unmarshal(answer, &users); err != nil {
		return "", err
	}
	if len(users) == 0 {
		return "", fmt.Errorf("no user has the e-mail address %s", email)
	}
	return users[0].ID, nil
}

func (a api) send(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	for {
		req, err := http.NewRequestWithContext(ctx, method, a.endpoint+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := a.client.Do(req)
		if err != nil {
			return nil, err
		}
		answer, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			return answer, nil
		case http.StatusTooManyRequests:
			seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil {
				seconds = 1
			}
			time.Sleep(time.Duration(seconds) * time.Second)
		default:
			return nil, fmt.Errorf("Logto answers %s", resp.Status)
		}
	}
}

// Command byhand does by hand what sync-custom-data does for a message of a queue: it finds the user of each row, compares, and
// writes what differs. There are no more calls than needed: the token is kept, the connections too. What the framework costs is
// measured beside it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/url"
	"os"
	"reflect"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

func main() {
	ctx := context.Background()
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	secret, err := secretsmanager.NewFromConfig(c).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: new(os.Getenv("M2M_SECRET_ID"))})
	if err != nil {
		log.Fatal(err)
	}
	var app struct{ Endpoint, AppID, AppSecret string }
	if err := json.Unmarshal([]byte(*secret.SecretString), &app); err != nil {
		log.Fatal("the secret is not JSON")
	}
	tokens := clientcredentials.Config{
		ClientID: app.AppID, ClientSecret: app.AppSecret, TokenURL: app.Endpoint + "/oidc/token", Scopes: []string{"all"},
		EndpointParams: url.Values{"resource": {"https://default.logto.app/api"}}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	lambda.Start(tenant{app.Endpoint, tokens.Client(ctx)}.handle)
}

type tenant struct {
	endpoint string
	client   *http.Client
}

type user struct {
	ID         string
	CustomData map[string]any
}

func (t tenant) handle(ctx context.Context, batch events.SQSEvent) (events.SQSEventResponse, error) {
	var answer events.SQSEventResponse
	for _, message := range batch.Records {
		if err := t.message(ctx, message.Body); err != nil {
			log.Print(err)
			answer.BatchItemFailures = append(answer.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: message.MessageId})
		}
	}
	return answer, nil
}

func (t tenant) message(ctx context.Context, body string) error {
	var params struct {
		Rows []struct {
			PrimaryEmail string
			CustomData   map[string]any
		}
	}
	if err := json.Unmarshal([]byte(body), &params); err != nil {
		return err
	}
	for _, row := range params.Rows {
		query := url.Values{"search.primaryEmail": {row.PrimaryEmail}, "mode.primaryEmail": {"exact"}, "page": {"1"}, "page_size": {"100"}}
		var users []user
		if err := t.call(ctx, http.MethodGet, "/api/users?"+query.Encode(), nil, &users); err != nil {
			return err
		}
		if len(users) != 1 {
			return fmt.Errorf("%d users", len(users))
		}
		merged := maps.Clone(users[0].CustomData)
		maps.Copy(merged, row.CustomData)
		if reflect.DeepEqual(merged, users[0].CustomData) {
			continue
		}
		if err := t.call(ctx, http.MethodPatch, "/api/users/"+users[0].ID+"/custom-data", map[string]any{"customData": row.CustomData}, nil); err != nil {
			return err
		}
	}
	return nil
}

// call sends a request and reads its answer into v, unless that is nil.
func (t tenant) call(ctx context.Context, method, path string, body, v any) (err error) {
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, t.endpoint+path, &sent)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %v", method, resp.Status, err)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(data, v)
}

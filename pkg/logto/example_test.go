package logto_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"slices"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
	"github.com/m2mjobs/m2mjobs/pkg/logto/logtotest"
)

// exampleTenant is a tenant in memory with two users, and a client of it. A program has an http.Client over an m2m.Transport
// instead of ManagementClient.
func exampleTenant() (*logtotest.Tenant, *logto.Client) {
	tenant, err := logtotest.Start(logtotest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	tenant.AddUser(logtotest.User{ID: "ann000000000", PrimaryEmail: "ann@example.com", CustomData: map[string]any{"plan": "free"}})
	tenant.AddUser(logtotest.User{ID: "bob000000000", PrimaryEmail: "bob@example.com"})
	client, err := logto.NewClient(logto.Config{Endpoint: tenant.URL, HTTPClient: tenant.ManagementClient()})
	if err != nil {
		log.Fatal(err)
	}
	return tenant, client
}

// Read up to a hundred users with one request.
func ExampleClient_UsersBy() {
	tenant, client := exampleTenant()
	defer tenant.Close()

	asked := []string{"Ann@example.com", "bob@example.com", "carl@example.com"}
	found, err := client.UsersBy(context.Background(), logto.ByEmail, asked)
	if err != nil {
		log.Fatal(err)
	}
	for _, address := range asked {
		if len(found[address]) == 0 {
			fmt.Println(address, "is missing")
		}
		for _, user := range found[address] {
			fmt.Println(address, "is", user.ID, "with", user.CustomData)
		}
	}
	// Output:
	// Ann@example.com is ann000000000 with map[plan:free]
	// bob@example.com is bob000000000 with map[]
	// carl@example.com is missing
}

func ExampleClient_User() {
	tenant, client := exampleTenant()
	defer tenant.Close()

	_, err := client.User(context.Background(), "carl00000000")
	if errors.Is(err, logto.ErrNotFound) {
		fmt.Println("nobody")
	}
	// Output: nobody
}

func ExampleClient_Users() {
	tenant, client := exampleTenant()
	defer tenant.Close()

	for user, err := range client.Users(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(user.PrimaryEmail)
	}
	// Output:
	// bob@example.com
	// ann@example.com
}

// Set some keys and leave the others.
func ExampleClient_MergeCustomData() {
	tenant, client := exampleTenant()
	defer tenant.Close()

	stored, err := client.MergeCustomData(context.Background(), "ann000000000", map[string]any{"orders": map[string]any{"count": 3}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stored)
	// Output: map[orders:map[count:3] plan:free]
}

// Remove a key: read, leave it out, replace.
func ExampleClient_ReplaceCustomData() {
	tenant, client := exampleTenant()
	defer tenant.Close()
	ctx := context.Background()

	user, err := client.User(ctx, "ann000000000")
	if err != nil {
		log.Fatal(err)
	}
	delete(user.CustomData, "plan")
	stored, err := client.ReplaceCustomData(ctx, user.ID, user.CustomData)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stored)
	// Output: map[]
}

func ExampleParseCustomData() {
	data, err := logto.ParseCustomData([]byte(`{"total": 12345678901234567890}`))
	fmt.Println(data["total"], err)

	_, err = logto.ParseCustomData([]byte(`{"name": "\ud83d"}`))
	fmt.Println(err)
	// Output:
	// 12345678901234567890 <nil>
	// custom data: half a surrogate pair at byte 10: the text was cut inside a character
}

func ExampleCheckCustomData() {
	data := map[string]any{"orders": map[string]any{"lastId": json.Number("12345678901234567890")}}
	fmt.Println(logto.CheckCustomData(data))
	// Output: custom data at orders.lastId: the number has more digits than a JavaScript number keeps: send it as a string
}

func ExampleEqualData() {
	stored := map[string]any{"spent": json.Number("25"), "plan": "free"}
	row := map[string]any{"plan": "free", "spent": 25.00}
	fmt.Println(logto.EqualData(stored, row))
	// Output: true
}

func ExampleManagementResource() {
	fmt.Println(logto.ManagementResource("https://abc123.logto.app"))
	fmt.Println(logto.ManagementResource("https://auth.example.com"))
	// Output:
	// https://abc123.logto.app/api
	// https://default.logto.app/api
}

// The message is for an operator, the sentinels are for the program.
func ExampleError() {
	tenant, client := exampleTenant()
	defer tenant.Close()
	tenant.Inject(logtotest.Fault{Status: 429})

	_, err := client.User(context.Background(), "ann000000000")
	var answer *logto.Error
	if errors.As(err, &answer) {
		fmt.Println(answer.Status, errors.Is(err, logto.ErrRateLimited), len(answer.RequestID))
	}
	// Output: 429 true 16
}

func ExampleKey() {
	keys := []logto.Key{logto.ByID, logto.ByEmail, logto.ByUsername, logto.ByPhone}
	fmt.Println(slices.Contains(keys, logto.Key("primaryEmail")))
	// Output: true
}

// A secret is replaced while both are valid: the old one goes when nobody uses it any more.
func ExampleClient_CreateAppSecret() {
	tenant, client := exampleTenant()
	defer tenant.Close()
	app := tenant.AddApp("daily-orders")
	ctx := context.Background()

	made, err := client.CreateAppSecret(ctx, app.ID, "second")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made.Name, len(made.Value) > 0)
	// ... here it is put where the app reads it ...

	used := false
	for use, err := range client.SecretUses(ctx, app.ID) {
		if err != nil {
			log.Fatal(err)
		}
		used = used || use.Secret == logtotest.DefaultSecret
	}
	if !used {
		err = client.DeleteAppSecret(ctx, app.ID, logtotest.DefaultSecret)
	}
	left, listErr := client.AppSecrets(ctx, app.ID)
	fmt.Println(len(left), err, listErr)
	// Output:
	// second true
	// 1 <nil> <nil>
}

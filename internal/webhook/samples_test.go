package webhook

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/go-cmp/cmp"
)

func TestTheSampleEventsAreAnsweredAsTheirReadMeSays(t *testing.T) {
	type want struct {
		status int
		onBus  string
	}
	wants := map[string]want{
		"user-created":        {200, "User.Created"},
		"user-updated-base64": {200, "User.Data.Updated"},
		"custom-data-echo":    {200, ""},
		"wrong-signature":     {401, ""},
		"get":                 {405, ""},
	}
	files, err := filepath.Glob("../../functions/logto-webhook/events/*.json")
	if err != nil || len(files) != len(wants)+1 {
		t.Fatalf("%d sample events: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		payload, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if name == "repair" {
			continue // TestTheFunctionFromItsEnvironment has its like
		}
		s := newSetup(t, keyed(documentedKey), "id")
		answer, err := s.Invoke(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		var response events.LambdaFunctionURLResponse
		if err := json.Unmarshal(answer, &response); err != nil {
			t.Fatal(err)
		}
		got := want{status: response.StatusCode}
		for _, e := range s.bridge.taken() {
			got.onBus += e.DetailType
		}
		if diff := cmp.Diff(wants[name], got, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

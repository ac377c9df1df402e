package faults_test

import (
	"fmt"
	"io"
	"log"
	"net/http"

	"github.com/m2mjobs/m2mjobs/internal/faults"
)

// A server breaks in the middle of its answers, and is mended.
func Example() {
	proxy, err := faults.Start(faults.Config{
		TLS:      true,
		Upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "all is well") }),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer proxy.Close()
	client := &http.Client{Transport: proxy.Transport()}
	ask := func() {
		resp, err := client.Get(proxy.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		fmt.Printf("%s, %v\n", body, err)
	}
	if err := proxy.Break(faults.Reset, nil); err != nil {
		log.Fatal(err)
	}
	ask()
	if err := proxy.Mend(); err != nil {
		log.Fatal(err)
	}
	ask()
	// Output:
	// all i, unexpected EOF
	// all is well, <nil>
}

//go:build e2e

// Command surroundings is what the deployed functions talk to besides AWS: a Logto tenant in memory (surroundings tenant) or the
// company's API (surroundings shop). It takes its settings as a line of JSON on standard input, says where it listens when it
// does, and ends with its standard input.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/m2mjobs/m2mjobs/e2e/emulator"
	"github.com/m2mjobs/m2mjobs/internal/shop"
	"github.com/m2mjobs/m2mjobs/internal/shop/cdnow"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "surroundings:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: surroundings tenant|shop <SETTINGS")
	}
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	switch args[0] {
	case "tenant":
		err = startTenant(line)
	case "shop":
		err = startShop(line)
	default:
		err = fmt.Errorf("no %q: tenant or shop", args[0])
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

func startShop(line []byte) error {
	var settings emulator.ShopSettings
	if err := json.Unmarshal(line, &settings); err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	orders, err := cdnow.Orders()
	if err != nil {
		return err
	}
	bad := orders[len(orders)-1]
	bad.ID, bad.PlacedOn, bad.Quantity = "bad", settings.BadDay, -1
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: settings.Issuer, Audience: shop.Resource})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: shop.NewHandler(verifier, append(slices.Clone(orders), bad)), ReadHeaderTimeout: 10 * time.Second}
	go func() { fmt.Fprintln(os.Stderr, "surroundings:", server.Serve(listener)) }()
	fmt.Println("http://" + listener.Addr().String())
	return nil
}

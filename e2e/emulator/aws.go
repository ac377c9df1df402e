package emulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Region of everything in the emulated account.
const Region = "us-east-1"

// AWS is a MiniStack that enforces IAM.
type AWS struct {
	// URL is the endpoint of all services.
	URL     string
	process *process
	dir     string
	port    string
}

// StartAWS starts one, with more environment variables (NAME=value) if MiniStack is to be set otherwise. Its data is gone when it
// is closed.
func StartAWS(variables ...string) (*AWS, error) {
	program, err := Tool("ministack/bin/ministack")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ministack-")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Dir = dir
	// AUTH: policies are enforced. Without the next two it listens on all interfaces, and on port 8883 besides.
	cmd.Env = append([]string{
		"AUTH=true", "BIND_HOST=127.0.0.1", "IOT_MTLS_ENABLED=0", "GATEWAY_PORT=" + port, "MINISTACK_REGION=" + Region,
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "S3_DATA_DIR=" + dir, "STATE_DIR=" + dir,
	}, variables...)
	p, err := start(cmd)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	a := &AWS{URL: "http://" + address, process: p, dir: dir, port: port}
	if err := p.await(time.Minute, a.healthy); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *AWS) healthy() error {
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(a.URL + "/_ministack/health")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", resp.Status)
	}
	return nil
}

// Key is an access key.
type Key struct{ ID, Secret string }

// Root is the access key of the account's root user, who may do everything.
func (a *AWS) Root() Key { return Key{"test", "test"} }

// Config is the SDK's configuration for a caller with that key.
func (a *AWS) Config(ctx context.Context, key Key) (aws.Config, error) {
	return config.LoadDefaultConfig(ctx,
		config.WithRegion(Region),
		config.WithBaseEndpoint(a.URL),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(key.ID, key.Secret, "")),
		// The user's own files have no say here.
		config.WithSharedConfigFiles([]string{}),
		config.WithSharedCredentialsFiles([]string{}),
	)
}

// Environment is what makes a program's SDK call this AWS with that key.
func (a *AWS) Environment(key Key) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL":      a.URL,
		"AWS_REGION":            Region,
		"AWS_ACCESS_KEY_ID":     key.ID,
		"AWS_SECRET_ACCESS_KEY": key.Secret,
		// Otherwise an SDK that misses something asks an address outside this machine.
		"AWS_EC2_METADATA_DISABLED": "true",
	}
}

// Close stops it.
func (a *AWS) Close() error {
	if err := a.process.close(); err != nil {
		return err
	}
	return os.RemoveAll(a.dir)
}

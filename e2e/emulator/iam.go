package emulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// NewUser makes an IAM user who may do what the policy document allows, and returns an access key. The calls are written
// out here: a module of the SDK for three requests would be one more dependency.
func (a *AWS) NewUser(ctx context.Context, name, policy string) (Key, error) {
	for _, form := range []url.Values{
		{"Action": {"CreateUser"}, "UserName": {name}},
		{"Action": {"PutUserPolicy"}, "UserName": {name}, "PolicyName": {name}, "PolicyDocument": {policy}},
	} {
		if err := a.iam(ctx, form, nil); err != nil {
			return Key{}, err
		}
	}
	var created struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	err := a.iam(ctx, url.Values{"Action": {"CreateAccessKey"}, "UserName": {name}}, &created)
	if err == nil && created.ID == "" {
		err = fmt.Errorf("IAM made no access key for %s", name)
	}
	return Key{created.ID, created.Secret}, err
}

func (a *AWS) iam(ctx context.Context, form url.Values, into any) error {
	form.Set("Version", "2010-05-08")
	body := []byte(form.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256(body)
	root := aws.Credentials{AccessKeyID: a.Root().ID, SecretAccessKey: a.Root().Secret}
	if err := signer.NewSigner().SignHTTP(ctx, root, req, hex.EncodeToString(sum[:]), "iam", Region, time.Now()); err != nil {
		return err
	}
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("IAM %s: %s: %s", form.Get("Action"), resp.Status, answer)
	}
	if into == nil {
		return nil
	}
	return xml.Unmarshal(answer, into)
}

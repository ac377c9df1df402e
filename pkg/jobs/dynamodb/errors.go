package dynamodb

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// failed names the table and, where there is one, the mend. doing is what failed, as "claiming slot \"…\"".
func (s *Store) failed(doing string, err error) error {
	return fmt.Errorf("%s: table %s: %s%w", doing, s.table, mend(err), err)
}

// mend says what to do about the errors that a new deployment meets.
func mend(err error) string {
	if errors.As(err, new(*types.ResourceNotFoundException)) {
		return "there is none of this name (from STATE_TABLE) in this account and region, or it has no index gsi1: "
	}
	api := smithy.APIError(nil)
	if !errors.As(err, &api) {
		return ""
	}
	switch api.ErrorCode() {
	case "AccessDeniedException":
		// The action of a transaction is not known otherwise.
		if action := regexp.MustCompile(`dynamodb:[A-Za-z]+`).FindString(api.ErrorMessage()); action != "" {
			return "the role needs " + action + " on it: "
		}
		return "the role needs the actions that the package jobs/dynamodb lists: "
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded":
		return "throttled, also when asked again; bill the table by request, or raise its capacity: "
	}
	return ""
}

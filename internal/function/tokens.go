package function

import (
	"context"
	"errors"
	"strings"

	"github.com/m2mjobs/m2mjobs/pkg/m2m"
	"github.com/m2mjobs/m2mjobs/pkg/m2m/dynamodb"
)

// TokenCache is what TOKEN_CACHE names: dynamodb://TABLE, or a directory; nil if it is empty. month is how many tokens were got
// this month by all who share it, zero where nobody counts. Its error says what belongs into the variable.
func TokenCache(location string, newClient func(context.Context) (dynamodb.Client, error)) (cache m2m.TokenCache, month func() int64, err error) {
	month = func() int64 { return 0 }
	table, inTable := strings.CutPrefix(location, "dynamodb://")
	switch {
	case location == "":
		return nil, month, nil
	case inTable && table != "" && !strings.Contains(table, "/"):
		shared := dynamodb.New(table, newClient)
		return shared, shared.TokensThisMonth, nil
	case strings.Contains(location, "://"):
		return nil, month, errors.New("TOKEN_CACHE is wrong: " + meaning("TOKEN_CACHE"))
	}
	return m2m.FileCache(location), month, nil
}

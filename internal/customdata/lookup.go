package customdata

import (
	"context"
	"fmt"
	"slices"

	"github.com/m2mjobs/m2mjobs/pkg/logto"
)

// lookup reads the users of the rows that have no outcome yet, by one request for each kind of key. The result has a user
// for each such row, at the row's index; rows of nobody get their outcome here.
func (s *syncer) lookup(ctx context.Context, rows []entry, outcomes []outcome) ([]logto.User, error) {
	values := map[logto.Key][]string{}
	for i, e := range rows {
		if outcomes[i].kind == "" {
			values[e.row.key] = append(values[e.row.key], e.row.value)
		}
	}
	found := map[logto.Key]map[string][]logto.User{}
	for _, key := range rowKeys {
		if len(values[key]) == 0 {
			continue
		}
		users, err := s.client.UsersBy(ctx, key, values[key])
		if err != nil {
			return nil, fmt.Errorf("reading the users of lines %d to %d by %s: %w", rows[0].line, rows[len(rows)-1].line, key, err)
		}
		found[key] = users
	}
	users := make([]logto.User, len(rows))
	for i, e := range rows {
		if outcomes[i].kind == "" {
			users[i], outcomes[i] = pick(e.row, found[e.row.key][e.row.value])
		}
	}
	return users, nil
}

// connect gets the client, once.
func (s *syncer) connect(ctx context.Context) (err error) {
	if s.client == nil {
		s.client, err = s.config.Client(ctx)
	}
	return err
}

// pick chooses the user that a row is about. Only e-mail addresses find several: they are searched whatever their
// letter case, and Logto keeps users apart that differ by case alone.
func pick(r row, found []logto.User) (logto.User, outcome) {
	exact := slices.IndexFunc(found, func(u logto.User) bool { return u.PrimaryEmail == r.value })
	switch {
	case len(found) == 0:
		return logto.User{}, outcome{kind: missing, reason: fmt.Sprintf("no user has this %s", r.key)}
	case len(found) == 1:
		return found[0], outcome{}
	case r.key == logto.ByEmail && exact >= 0:
		return found[exact], outcome{}
	}
	return logto.User{}, outcome{kind: rejected,
		reason: fmt.Sprintf("%d users have this %s in another letter case: write it as the one you mean has it, or use the id", len(found), r.key)}
}

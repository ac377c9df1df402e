// Package dynamodb keeps the slots, checkpoints and reports of jobs in one DynamoDB table, for functions on AWS Lambda:
//
//	store := dynamodb.New("shop-runs", func(ctx context.Context) (dynamodb.Client, error) {
//		c, err := config.LoadDefaultConfig(ctx)
//		return sdk.NewFromConfig(c), err
//	})
//	jobs.Start(job, jobs.Config{Stack: "shop", Store: store})
//
// The client is made at the first request. Messages of a queue have no slot and cost none, but for one look a minute, in
// each execution environment, whether the job is paused.
//
// # The table
//
// In CloudFormation:
//
//	RunsTable:
//	  Type: AWS::DynamoDB::Table
//	  Properties:
//	    TableName: !Sub ${AWS::StackName}-runs
//	    BillingMode: PAY_PER_REQUEST
//	    AttributeDefinitions:
//	      - { AttributeName: pk, AttributeType: S }
//	      - { AttributeName: sk, AttributeType: S }
//	      - { AttributeName: gsi1pk, AttributeType: S }
//	      - { AttributeName: gsi1sk, AttributeType: S }
//	    KeySchema:
//	      - { AttributeName: pk, KeyType: HASH }
//	      - { AttributeName: sk, KeyType: RANGE }
//	    GlobalSecondaryIndexes:
//	      - IndexName: gsi1
//	        KeySchema:
//	          - { AttributeName: gsi1pk, KeyType: HASH }
//	          - { AttributeName: gsi1sk, KeyType: RANGE }
//	        Projection: { ProjectionType: KEYS_ONLY }
//	    TimeToLiveSpecification: { AttributeName: expires, Enabled: true }
//
// A function's role needs this, on the table alone:
//
//   - Effect: Allow
//     Action: [dynamodb:GetItem, dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:ConditionCheckItem]
//     Resource: !GetAtt RunsTable.Arn
//
// An operator who lists runs (Runs), cancels them (Cancel) and pauses jobs (Pause) needs the following. A function whose
// job has a CatchUp lists runs, too: it needs dynamodb:BatchGetItem and dynamodb:Query of this besides.
//
//   - Effect: Allow
//     Action: [dynamodb:GetItem, dynamodb:BatchGetItem, dynamodb:PutItem, dynamodb:UpdateItem, dynamodb:DeleteItem]
//     Resource: !GetAtt RunsTable.Arn
//   - Effect: Allow
//     Action: dynamodb:Query
//     Resource: !Sub ${RunsTable.Arn}/index/gsi1
//
// A table that is encrypted with a key of your own needs kms:Decrypt on that besides.
//
// # What is in it
//
//	pk            sk          what
//	slot#SLOT     slot        the slot's newest run: state, lease, fence, trigger, checkpoint, report
//	run#ID        run         the slot of a run; the run itself, once its slot has a newer one
//	group#GROUP   group       which slots of a schedule are running, unfinished or waiting
//	share#BUDGET  share       which processes have which part of a budget, and until when
//	job#JOB       paused#NN   there if the job is paused
//
// The index lists a job's runs by their start. Times are text in UTC that sorts; payloads above 4 KB are compressed with
// gzip. A trigger and a checkpoint may take 160 KB so, a report 64 KB: what is larger is refused with an error that says
// what to do, before a request is made. Params, results and rejected rows may be personal data, and stand in the table.
//
// An item is removed [DefaultTTL] after its last change, or [Store].TTL: a slot that is older than that is not known any
// more, and would run again. A pause stays until it is ended.
//
// # Requests
//
// A run costs two requests, its claim and its end, and one a checkpoint. One more is made if the slot has been claimed
// before (a retry, a continuation), if an earlier slot of its schedule died, or for [Store.Next]. A duplicate of a slot that
// is done costs one. A share of a budget costs one each time it is asked for or given back, and one more if others changed
// theirs since. All writes are conditional: a claim succeeds for exactly one of many claimants, and who lost a lease can
// write neither a checkpoint nor an end, whatever its clock says. A write whose answer is lost is sent again by the SDK and
// counts once; one that meets another's transaction is tried again for a few seconds.
//
// A claim is a transaction (the slot, where its run is, its group, and a look whether the job is paused), billed as about
// 8 write units of 1 KB; a checkpoint, and the end of a run that has no group, one unit a KB.
//
// # Clocks
//
// A lease ends by the clock of whoever looks. Lambda's clocks agree within a second, and leases end with the invocation's
// deadline, after which Lambda has stopped it: so a second too early or late does no harm. What decides is the fence.
package dynamodb

// Package stepfunctions continues unfinished runs by a state machine of AWS Step Functions, where people see them and can
// stop them:
//
//	newClient := func(ctx context.Context) (stepfunctions.Client, error) {
//		c, err := config.LoadDefaultConfig(ctx)
//		return sfn.NewFromConfig(c), err
//	}
//	jobs.Start(job, jobs.Config{
//		Stack: "shop", Store: store,
//		Continue: stepfunctions.Continue(newClient, os.Getenv("CONTINUE_STATE_MACHINE")),
//	})
//
// A run that nears its deadline starts one execution, which invokes the function until the run is over. The execution is
// named after the run, and a Standard state machine starts a name once in 90 days: so the rounds of that execution, which
// end unfinished as well and ask to be continued, start nothing. (A function that invoked itself would be stopped by
// Lambda after 16 times.) If the execution is over and the run goes on all the same, because a person started it again,
// the next one has -2 after the run's id, and so on.
//
// # The state machine
//
// Its input is the [jobs.Continuation], which is what the function takes; the function answers with its report, whose
// outcome decides. If the functions are called STACK-JOB one machine serves all jobs of a stack. In CloudFormation:
//
//	ContinueStateMachine:
//	  Type: AWS::StepFunctions::StateMachine
//	  Properties:
//	    StateMachineName: !Sub ${AWS::StackName}-continue
//	    StateMachineType: STANDARD
//	    RoleArn: !GetAtt ContinueRole.Arn # may lambda:InvokeFunction on the functions
//	    DefinitionSubstitutions: { Stack: !Ref AWS::StackName }
//	    Definition:
//	      StartAt: Run
//	      States:
//	        Run:
//	          Type: Task
//	          Resource: arn:aws:states:::lambda:invoke
//	          Parameters:
//	            FunctionName.$: States.Format('${Stack}-{}', $.m2mjobs.continue.job)
//	            Payload: { m2mjobs.$: $.m2mjobs }
//	          ResultSelector: { outcome.$: $.Payload.outcome }
//	          ResultPath: $.run
//	          Retry: [{ ErrorEquals: [Lambda.ServiceException, Lambda.TooManyRequestsException, Lambda.Unknown] }]
//	          Next: Look
//	        Look:
//	          Type: Choice
//	          Choices:
//	            - { Variable: $.run.outcome, StringEquals: unfinished, Next: Run }
//	            - { Variable: $.run.outcome, StringEquals: inProgress, Next: Wait }
//	            - { Variable: $.run.outcome, StringEquals: done, Next: Done }
//	            - { Variable: $.run.outcome, StringEquals: duplicate, Next: Done }
//	          Default: Failed
//	        Wait: { Type: Wait, Seconds: 30, Next: Run }
//	        Done: { Type: Succeed }
//	        Failed: { Type: Fail }
//
// The function's role needs:
//
//   - Effect: Allow
//     Action: states:StartExecution
//     Resource: !Ref ContinueStateMachine
//   - Effect: Allow
//     Action: states:DescribeExecution # of executions, whose names are the runs' ids
//     Resource: !Sub arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-continue:*
package stepfunctions

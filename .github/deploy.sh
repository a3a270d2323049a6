#!/bin/sh
# One step of .github/workflows/deploy.yml: STEP is dev, review, prod-a or prod-b. Credentials are the deploy role's.
set -eu
sam=.local/sam/bin/sam

# Each environment of samconfig.toml says its stack and its Region.
value() { sed -n "/^\[$1\.global\.parameters\]/,/^\[$1\.[v-z]/s/^$2 = \"\(.*\)\"/\1/p" samconfig.toml; }

make_change_set() { # prints its ARN; nothing where there is nothing to change
	"$sam" deploy --config-env "$1" --role-arn "$EXECUTION_ROLE_ARN" --no-confirm-changeset --no-execute-changeset \
		--no-fail-on-empty-changeset | tee /dev/stderr | sed -n 's/.*\(arn:aws[a-z-]*:cloudformation:[^ ]*:changeSet[^ ]*\).*/\1/p' | tail -1
}

case $STEP in
dev)
	"$sam" deploy --config-env dev --role-arn "$EXECUTION_ROLE_ARN" --no-confirm-changeset
	;;
review)
	{
		echo "change-sets<<END"
		for environment in prod-a prod-b; do
			made=$(make_change_set "$environment")
			[ -z "$made" ] || echo "$environment $made"
		done
		echo END
	} >>"$GITHUB_OUTPUT"
	{
		echo "### Change sets"
		grep '^prod-' "$GITHUB_OUTPUT" | while read -r environment made; do
			echo "#### $environment"
			aws cloudformation describe-change-set --region "$(value "$environment" region)" --change-set-name "$made" \
				--query 'Changes[].ResourceChange.[Action,LogicalResourceId,ResourceType,Replacement]' --output table
		done
	} >>"$GITHUB_STEP_SUMMARY"
	;;
prod-a | prod-b)
	made=$(printf '%s\n' "$CHANGE_SETS" | sed -n "s/^$STEP //p")
	[ -n "$made" ] || { echo "$STEP: nothing to change"; exit 0; }
	region=$(value "$STEP" region)
	aws cloudformation execute-change-set --region "$region" --change-set-name "$made"
	aws cloudformation wait stack-update-complete --region "$region" --stack-name "$(value "$STEP" stack_name)"
	;;
*)
	echo "STEP is $STEP, which is none" >&2
	exit 2
	;;
esac

"""Create one job, as any script does, and print its id: file, client's own retries."""

import sys

import openai

client = openai.OpenAI(max_retries=int(sys.argv[2]))
print(client.fine_tuning.jobs.create(model="tiny-texts", training_file=sys.argv[1]).id)

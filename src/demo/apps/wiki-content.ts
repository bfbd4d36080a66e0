/**
 * What stands in the demo's wiki when it starts.
 */

export interface SeedPage {
  readonly title: string
  readonly author: string
  /** Minutes before the start at which it was last changed. */
  readonly minutesAgo: number
  readonly text: string
}

export const seedPages: readonly SeedPage[] = [
  {
    title: 'Welcome',
    author: 'alice@corp.example',
    minutesAgo: 34,
    text: `Everything we keep explaining to each other, written down once.

# Start here
- [[On call]]: who is awake, and what to do when the pager rings
- [[Travel and expenses]]: what is paid, and by when
- [[Release checklist]]: the ten minutes before every release
- [[Working with us]]: for contractors and everyone in their first week

# House rules
- If you had to ask, write down the answer.
- Change what is wrong. Nobody owns a page.
- No passwords here, ever. There is a vault for those.`,
  },
  {
    title: 'On call',
    author: 'alice@corp.example',
    minutesAgo: 200,
    text: `The rota changes on **Monday at 10:00**. Swap freely, but tell the channel.

# When the pager rings
- Acknowledge within five minutes, even if only to say that you saw it.
- Open an incident on the board and write what you see, not what you guess.
- Roll back first. Understand later.

# Afterwards
Write five sentences: what happened, who noticed, what we did, what was missing, what changes. \`No blame\` is a rule, not a mood.`,
  },
  {
    title: 'Release checklist',
    author: 'alice@corp.example',
    minutesAgo: 1500,
    text: `# Before
- The board shows the last build green.
- The change log says what an operator has to do.
- Somebody other than the author has read the migration.

# During
- One person drives, one person watches the graphs.
- Ten percent, ten minutes, then everyone.

# After
- Close the release on the board, with the version and a link to the notes.`,
  },
  {
    title: 'Travel and expenses',
    author: 'bob@corp.example',
    minutesAgo: 4300,
    text: `Send receipts within **30 days**. What arrives by the 20th is paid with that month’s salary; see payroll for the run.

- Trains: second class, any time. First class when you work on the way.
- Hotels: up to 140 a night without asking.
- Meals: the daily allowance of the country you are in, no receipts needed.

Questions go to bob@corp.example.`,
  },
  {
    title: 'Working with us',
    author: 'bob@corp.example',
    minutesAgo: 9000,
    text: `For contractors, and for everyone in their first week.

- You can **read** all of this wiki. Changing pages is for employees; tell any of us what is wrong and it will be mended the same day.
- There is no VPN. Open the app, sign in once, and you get what you need and nothing else.
- If an app refuses you, the page says why and whom to ask. Copy the request number into your message.`,
  },
]

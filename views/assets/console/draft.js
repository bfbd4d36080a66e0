/*
 * Comfort of the page of a draft: parts that are not known yet are looked at again until they are, and put in place as the server rendered them. A
 * part that somebody types in is left alone. Without script each of them has a link that does the same.
 */

const lookAgainMs = 800
const waitsFor = () => [...document.querySelectorAll('[data-draft-pending]')]

/** The page itself; after a form that was not taken, the page that the form stood on. */
const addressOf = (own) => (location.pathname === own ? location.href : own)

const look = async () => {
  const [first] = waitsFor()
  if (first === undefined) return
  const answer = await fetch(addressOf(first.dataset.draftPending), { headers: { accept: 'text/html' } }).catch(() => undefined)
  if (answer?.ok !== true) return void setTimeout(look, 5 * lookAgainMs)
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  for (const part of waitsFor()) {
    const fresh = page.getElementById(part.id)
    if (fresh !== null && !part.contains(document.activeElement)) part.replaceWith(document.adoptNode(fresh))
  }
  if (waitsFor().length > 0) setTimeout(look, lookAgainMs)
}
if (waitsFor().length > 0) setTimeout(look, lookAgainMs)

// Exchanges the token behind the # for a cookie, and takes it out of the address bar and the history first.

const word = document.getElementById("word");
const form = document.getElementById("by-hand");

async function enter(text) {
  const token = text.trim().split("#").pop();
  word.textContent = "Opening your link …";
  try {
    const answer = await fetch("/api/visit", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ token }),
    });
    const content = await answer.json();
    if (answer.ok) {
      location.replace(content.next);
      return;
    }
    word.textContent = answer.status === 422 ? "This is no link of this study." : content.detail;
  } catch {
    word.textContent = "The server cannot be reached. Is the network there?";
  }
  form.hidden = false;
  form.elements.token.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(form.elements.token.value);
});

const given = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (given) {
  enter(given);
} else {
  word.textContent = "Open the link that was sent to you, or paste it here.";
  form.hidden = false;
}

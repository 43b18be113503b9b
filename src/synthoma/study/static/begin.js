// Enter begins; leaving takes the cookie away, so that the next person at this machine is nobody.

const csrf = document.querySelector("meta[name=csrf]").content;

document.getElementById("go")?.focus();
document.getElementById("leave").addEventListener("click", async () => {
  sessionStorage.clear();
  await fetch("/api/visit", { method: "DELETE", headers: { "X-CSRF-Token": csrf } });
  location.replace("/enter");
});

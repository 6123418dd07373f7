// What this browser keeps: the key (which it never gives away) and the network it was bound to.

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("groat-terminal", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function run(mode, work) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction("kept", mode);
    const request = work(transaction.objectStore("kept"));
    transaction.oncomplete = () => {
      database.close();
      resolve(request.result);
    };
    transaction.onerror = () => reject(transaction.error);
  });
}

export const load = (name) => run("readonly", (store) => store.get(name));
export const save = (name, value) => run("readwrite", (store) => store.put(value, name));

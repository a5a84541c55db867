for (const block of document.querySelectorAll(".contrasts")) {
  const [right, wrong] = [".right-in", ".wrong-in"].map(name => block.querySelector(name));
  const show = () => {
    let count = 0;
    for (const item of block.querySelectorAll("[data-verdicts]")) {
      const fits = (select, sign) => select.value === "" || item.dataset.verdicts[select.value] === sign;
      item.hidden = !(fits(right, "1") && fits(wrong, "0"));
      count += !item.hidden;
    }
    block.querySelector(".count").textContent = count + " shown";
  };
  right.onchange = wrong.onchange = show;
}

"""Needs the folder of a data set; makes its index, compared with the declared sizes, before any training."""


DIGITS_ROOT = DATA.root if DATA.name == "digits" else "data/digits"


rule digits:
    """Write scikit-learn's scans of handwritten digits as an ImageFolder tree of PNGs."""
    output:
        done=f"{DIGITS_ROOT}/.complete",
    params:
        root=DIGITS_ROOT,
    log:
        f"{RESULTS}/logs/digits.log",
    localrule: True
    script:
        "../scripts/write_digits.py"


rule index:
    """List the tree of a data set once, compare it with the declared sizes and look at its images."""
    input:
        # a time stamp says nothing about images: only a run's content can retrain it
        made=ancient(rules.digits.output.done) if DATA.name == "digits" else [],
    output:
        index=f"{RESULTS}/data/index.tsv",
    params:
        root=DATA.root,
        check=DATA.check,
        declared={
            "num_train_images": DATA.num_train_images,
            "num_val_images": DATA.num_val_images,
            "num_classes": DATA.num_classes,
        },
    log:
        f"{RESULTS}/logs/index.log",
    localrule: True
    script:
        "../scripts/index_data.py"
